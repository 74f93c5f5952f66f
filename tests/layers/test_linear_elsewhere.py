"""tt.Linear where it is nn.Linear: other dtypes and devices, torch.func, export; and inside of torch.compile."""

import copy

import pytest
import torch
from torch import nn

import tracetorch as tt
from tests.support.linear import equal, pair, run, spikes
from tests.support.messages import fails
from tracetorch.backends.cpp import matrix

pytestmark = pytest.mark.skipif(matrix.why_not() is not None, reason=str(matrix.why_not()))
WAYS = {
    "float64": (lambda m, x: m.double()(x.double()), "torch.float64"),
    "bfloat16": (lambda m, x: m.bfloat16()(x.bfloat16()), "torch.bfloat16"),
    "meta": (lambda m, x: m.to("meta")(x.to("meta")), "the matrix library runs on the CPU"),
    "vmap": (lambda m, x: torch.func.vmap(m)(x), "torch.func"),
    "grad": (lambda m, x: torch.func.grad(lambda x: m(x).sum())(x), "torch.func"),
    "jvp": (lambda m, x: torch.func.jvp(m, (x,), (x,)), "torch.func"),
    "captured": (lambda m, x: torch.jit.trace(m, x, check_trace=False)(x), "watches operators"),
    "sparse tensor": (lambda m, x: m(x.to_sparse_csr()), "sparse_csr"),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning", "ignore:Sparse CSR:UserWarning")
@pytest.mark.parametrize("name", WAYS)
def test_elsewhere_nn_linear(name):
    call, why = WAYS[name]
    theirs, ours = pair()
    x = spikes(6, 70)
    expected, found = call(theirs, x), call(ours, x)
    for a, b in zip(*((t if isinstance(t, tuple) else (t,)) for t in (expected, found)), strict=True):
        assert a.dtype == b.dtype and (a.is_meta or torch.equal(a, b))
    assert ours.seen.path == "torch" and why in ours.seen.why and why in str(ours.seen)


def test_eager_backend_is_nn_linear_and_differentiates_twice():
    theirs, ours = pair()
    x = torch.randn(6, 70, requires_grad=True)
    with tt.backend("eager"):
        assert torch.equal(ours(x), theirs(x))
        assert ours.seen.why == 'tt.backend("eager") is on'
        (g,) = torch.autograd.grad(ours(x).sin().sum(), x, create_graph=True)
        g.square().sum().backward()
    assert x.grad.abs().sum() > 0
    (g,) = torch.autograd.grad(ours(x).sin().sum(), x, create_graph=True)
    with fails(RuntimeError, "tt.Linear can be differentiated once", 'tt.backend("eager")'):
        g.sum().backward()


def test_autocast_is_nn_linear():
    theirs, ours = pair()
    with torch.autocast("cpu", torch.bfloat16):
        y = ours(spikes(6, 70))
        assert torch.equal(y, theirs(spikes(6, 70))) and y.dtype is torch.bfloat16
    assert ours.seen.why == "autocast chooses the dtype"


def test_without_a_library_nn_linear(monkeypatch):
    monkeypatch.setattr(matrix, "_why_not", lambda: "there is no C++ compiler")
    theirs, ours = pair(path="sparse")
    assert equal(run(ours, spikes(6, 70)), run(theirs, spikes(6, 70)))
    assert str(ours.seen) == "as nn.Linear: there is no C++ compiler"


def test_fake_tensors_and_counted_operators():
    from torch.utils.flop_counter import FlopCounterMode

    theirs, ours = pair()
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True):
        assert ours(torch.ones(4, 70)).shape == (4, 33)
    counts = []
    for linear in (theirs, ours):
        with FlopCounterMode(display=False) as counter:
            linear(spikes(6, 70))
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize("path", ["dense", "sparse"])
def test_compiled_whole_with_the_same_bits(path):
    _, ours = pair(path=path)
    x = spikes(300, 70)
    compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
    assert equal(run(compiled, x), run(ours, x))
    with torch.no_grad():
        assert torch.equal(compiled(x), ours(x))


def test_operators_are_sound():
    _, ours = pair()
    x = spikes(6, 70).requires_grad_()
    arguments = (x, ours.weight, ours.bias, "sparse")
    torch.library.opcheck(torch.ops.tracetorch.linear, arguments)
    torch.library.opcheck(torch.ops.tracetorch.linear, (*arguments[:2], None, "auto"))


def test_exported_as_nn_linear():
    _, ours = pair()
    graph = torch.export.export(ours, (spikes(6, 70),)).graph
    assert any("aten.linear" in str(node.target) for node in graph.nodes)
    assert not any("tracetorch" in str(node.target) for node in graph.nodes)


def test_recomputed_in_backward():
    _, ours = pair(path="sparse")
    x = spikes(300, 70)
    expected = run(ours, x)
    inner = nn.Sequential(ours)

    class Recomputed(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return torch.utils.checkpoint.checkpoint(self.inner, x, use_reentrant=False)
    assert equal(run(Recomputed(), x), expected)


def test_inference_mode():
    _, ours = pair()
    with torch.inference_mode():
        first = ours(spikes(6, 70))
        assert torch.equal(first, copy.deepcopy(ours)(spikes(6, 70)))
    assert torch.equal(first, ours(spikes(6, 70)))
