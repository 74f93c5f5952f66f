"""Kernels compiled for GPUs that are not there: next to no spills, no shared memory, no contraction."""

import re

import pytest
import torch

import tracetorch as tt

from .conftest import FULL

triton = pytest.importorskip("triton", reason="Triton is an optional extra")
aot = pytest.importorskip("tracetorch.aot").aot
NEURONS = [name for name in tt.snn.__all__ if hasattr(getattr(tt.snn, name), "pipeline")]
ADAPTIVE = tt.compose(tt.Adaptive, tt.Ternary)


def compiled(layer, arch="sm_90", dtype=torch.float32):
    if triton.knobs.runtime.interpret:
        pytest.skip("TRITON_INTERPRET is set, and Triton compiles nothing")
    kernels = aot(layer, arch, dtype)
    assert [k.name for k in kernels] == ["scan_forward", "scan_backward", "through_activations"]
    return kernels


def assert_fits(kernels, arch):
    from tracetorch.backends.triton.launch import SPARED

    for kernel in kernels:
        assert kernel.spills <= SPARED and kernel.shared == 0
        assert 8 <= kernel.registers <= 255
        assert f".target {arch}" in kernel.ptx and "st.global" in kernel.ptx


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16] if FULL else [torch.float32], ids=str)
@pytest.mark.parametrize("arch", ["sm_75", "sm_80", "sm_89", "sm_90"] if FULL else ["sm_90"])
@pytest.mark.parametrize("name", NEURONS if FULL else ["LIB", "DSRLITS"])
def test_neurons_fit(name, arch, dtype):
    assert_fits(compiled(getattr(tt.snn, name)(8), arch, dtype), arch)


@pytest.mark.skipif(not FULL, reason="a minute of compiling; set TRACETORCH_TESTS=all")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16], ids=str)
def test_others_fit(dtype):
    F = tt.functional
    for layer in (ADAPTIVE(8), tt.snn.LIB(8, quant_fn=F.stochastic_round_ste()), tt.snn.LIT(8, beta_rank=0),
                  tt.compose(tt.Dual, tt.Binary, tt.Reset("zero"))(8, quant_fn=F.round_ste()),
                  tt.compose(tt.Refractory, tt.Binary)(8, spike_fn=F.surrogates.Logistic())):  # fmt: skip
        assert_fits(compiled(layer.to(dtype) if dtype is torch.float64 else layer, dtype=dtype), "sm_90")


def test_the_step_of_a_layer_that_hears_itself_fits():
    layer = tt.Feedback(tt.snn.LIB(8), torch.nn.Linear(8, 8))
    assert_fits(compiled(layer), "sm_90")
    with pytest.raises(TypeError, match=r"expected a composed neuron such as tt\.snn\.LIB"):
        aot(tt.Feedback(tt.snn.LIB(8), torch.nn.Sequential(torch.nn.Linear(8, 8))))


def test_bfloat16_only_at_the_edges():
    forward, *_ = compiled(tt.snn.LI(8), dtype=torch.bfloat16)
    assert "cvt.rn.bf16x2.f32" in forward.ptx       # two lanes a thread, rounded once
    assert "fma." not in forward.ptx and not re.search(r"\b(add|sub|mul|min|max)\S*bf16", forward.ptx)


def test_arithmetic_is_not_contracted():
    for kernel in compiled(tt.snn.LIB(8)):
        assert "fma.rn.f32" not in kernel.ptx


def test_explain_tells_what_kernels_use(monkeypatch):
    kernels = compiled(tt.snn.LIB(8))
    from tracetorch.backends import triton as backend

    monkeypatch.setitem(tt.backends.FUSED, "cpu", "triton")
    monkeypatch.setattr(backend, "why_not_here", lambda device, io: None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    explanation = tt.explain(tt.snn.LIB(8))
    assert explanation.layers[0].kernels == tuple(kernels)
    use = f"scan_backward: {kernels[1].registers} registers, 0 bytes spilled, 0 bytes shared"
    assert f"  kernel {use}\n" in repr(explanation) and use in explanation._repr_html_()


ERRORS = {
    "an arch": (ValueError, "arch must be like 'sm_90'", lambda: aot(tt.snn.LI(3), "H100")),
    "a dtype": (ValueError, "dtype must be one of torch.float32", lambda: aot(tt.snn.LI(3), dtype=torch.int8)),
    "a neuron": (TypeError, "expected a composed neuron such as tt.snn.LIB", lambda: aot(torch.nn.Linear(2, 2))),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_name_what_is_wrong(name):
    kind, said, call = ERRORS[name]
    with pytest.raises(kind, match=said):
        call()


def test_refuses_what_cannot_be_fused():
    if triton.knobs.runtime.interpret:
        pytest.skip("TRITON_INTERPRET is set, and Triton compiles nothing")
    with pytest.raises(RuntimeError, match=r"aot: .*line .* of test_aot.py.*sum"):
        aot(tt.snn.LIB(3, spike_fn=lambda v: v if v.sum() > 0 else -v))
