"""Which divisions of a gradient may be short: those that no jump depends on."""

import pytest
import torch

import tracetorch as tt

pytest.importorskip("triton", reason="Triton is an optional extra")


class Ratio(torch.nn.Module):
    """Fires where v/(1 + v*v) is large; its gradient divides by what no spike depends on."""

    def forward(self, v):
        share = v / (1 + v * v)
        return torch.where(share > 0.3, torch.tanh(share), share / (2 + share))


def lines_of(layer, function):
    from tracetorch.backends.triton.backend import chain_of

    _, _, text = chain_of(layer.bound_step(), torch.float32).text.partition(f"def {function}(")
    return text.split("def ")[0]


def test_divisions_before_a_jump_are_exact():
    layer = tt.snn.LIB(3, spike_fn=Ratio())
    forward, backward = lines_of(layer, "step"), lines_of(layer, "step_back")
    assert forward.count("m.divide(") == 2 and " / " not in forward
    assert backward.count("m.divide(") == 1         # share, which is compared with 0.3
    assert " / " in backward


@pytest.mark.triton
def test_gradients_with_short_divisions(dtype):
    layer, found = tt.snn.LIB(3, spike_fn=Ratio(), dtype=dtype), []
    x = torch.randn(20, 4, 3, dtype=dtype, requires_grad=True)
    for backend in ("triton", "eager"):
        layer.zero_states()
        y = tt.scan(layer, x, backend=backend)
        found.append(torch.autograd.grad(y.square().sum(), [x, *layer.parameters()]))
    error = 1e-12 if dtype is torch.float64 else 2e-5
    for got, want in zip(*found, strict=True):
        torch.testing.assert_close(got, want, rtol=error, atol=error * float(want.abs().max()))
