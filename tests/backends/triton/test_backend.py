"""What the backend refuses, and how it says so; what it tells of its kernels."""

import pytest
import torch

import tracetorch as tt
from tests.support.backends import why_not

pytest.importorskip("triton", reason="Triton is an optional extra")
pytestmark = pytest.mark.triton


@pytest.fixture
def backend():
    from tracetorch.backends.triton import backend

    return backend


def test_runs_interpreted_on_the_cpu(backend, interpreted):
    assert why_not("triton", tt.snn.LIB(3), torch.rand(2, 3)) is None


def test_refuses_other_devices(backend, monkeypatch):
    monkeypatch.setattr(backend, "INTERPRETED", False)
    layer, x = tt.snn.LIB(3, device="cpu"), torch.rand(2, 3, device="cpu")
    said = "the input is on cpu, and Triton runs on CUDA devices (or, interpreted, with TRITON_INTERPRET=1)"
    assert why_not("triton", layer, x) == said
    with pytest.raises(RuntimeError, match="backend='triton' can't run LIB: the input is on cpu"):
        tt.scan(layer, x, backend="triton")


def test_refuses_other_dtypes(backend):
    said = why_not("triton", tt.snn.LIB(3), torch.ones(2, 3, dtype=torch.complex64))
    assert said.startswith("the input is torch.complex64; Triton kernels take torch.float32, torch.float64")


def test_refuses_forward_mode_and_vmap():
    layer, x = tt.snn.LIB(3), torch.rand(2, 3)
    with pytest.raises(RuntimeError, match="no vmap, no forward-mode and no torch"):
        torch.vmap(lambda v: tt.scan(layer, v, backend="triton"))(torch.rand(4, 2, 3))
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        with pytest.raises(RuntimeError, match="no vmap, no forward-mode and no torch"):
            tt.scan(layer, dual, backend="triton")


def test_says_which_line_cannot_be_traced():
    def spike(v):
        return v if v.sum() > 0 else -v

    with pytest.raises(RuntimeError, match=r"backend='triton' can't run LIB: .*line \d+ of test_backend.py.*sum"):
        tt.scan(tt.snn.LIB(3, spike_fn=spike), torch.rand(2, 3), backend="triton")


def test_refuses_a_lifted_tensor_of_another_shape():
    class Slope(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.k = torch.nn.Parameter(torch.ones(2, 3))

        def forward(self, v):
            return torch.sigmoid(self.k * v)

    with pytest.raises(RuntimeError, match=r"can't run LIB: spike_fn.k has shape \[2, 3\].*='auto' or 'eager'"):
        tt.scan(tt.snn.LIB(3, spike_fn=Slope()), torch.rand(4, 2, 3), backend="triton")


def test_second_derivatives_say_what_to_do():
    layer, x = tt.snn.LIB(3), torch.rand(4, 3, requires_grad=True)
    y = tt.scan(layer, x, backend="triton")
    (g,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"differentiated once.*eager"):
        g.sum().backward()


def test_shows_its_code(monkeypatch, interpreted):
    monkeypatch.setitem(tt.backends.FUSED, "cpu", "triton")
    written, derived = tt.explain(torch.nn.Sequential(tt.snn.LIB(3), tt.snn.LIF(3))).layers
    assert written.backend == derived.backend == "triton"
    assert "def leaky(" in written.source and "def binary_back(" in written.source
    assert "def step(wire, state, par, rng" in derived.source and "s_mem = state[0]" in derived.source
    assert written.kept == "the input, and 1 state every 8 steps: 4.5 bytes per neuron and step"


def test_compositions_are_told_apart(backend):
    from tracetorch import functional as F

    def compose(layer):
        return backend.chain_of(layer.bound_step(), torch.float32)

    same = compose(tt.snn.LIB(3)), compose(tt.snn.LIB(5))
    assert same[0] == same[1] and hash(same[0]) == hash(same[1]) and repr(same[0]) == repr(same[1])
    layers = [tt.snn.LIB(3), tt.snn.LIB(3, quant_fn=F.round_ste(0.5)), tt.snn.LIB(3, quant_fn=F.round_ste(0.25)),
              tt.snn.LIT(3), tt.snn.LIF(3), tt.snn.LIB(3, spike_fn=torch.tanh)]  # fmt: skip
    assert len({repr(compose(layer)) for layer in layers}) == len(layers)


def test_a_kernel_that_spills_is_allowed_the_next_limit():
    from tracetorch.backends.triton.launch import roomier

    assert [roomier(n) for n in (80, 96, 128, 160, 255)] == [96, 128, 168, 168, 255]


def test_aot_needs_a_compiler(interpreted):
    from tracetorch.aot import aot

    with pytest.raises(RuntimeError, match="unset TRITON_INTERPRET"):
        aot(tt.snn.LIB(3))
