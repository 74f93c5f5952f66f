"""The kernel from gradients of values to gradients of what is stored, against autograd."""

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("triton", reason="Triton is an optional extra")
pytestmark = pytest.mark.triton

ACTIVATIONS = (torch.sigmoid, None, F.softplus, torch.sigmoid, torch.arcsinh)


@pytest.mark.parametrize("neurons", [1, 128, 300])
def test_through_every_activation(neurons):
    from tracetorch.backends.triton.activations import through

    shapes = [(neurons,), (neurons,), (), (), (neurons,)]
    stored = [(30 * torch.rand(s, dtype=torch.float64) - 5).requires_grad_() for s in shapes]
    sums = torch.randn(len(stored), neurons, dtype=torch.float64)
    got = through(sums.clone(), [p.detach() for p in stored], ACTIVATIONS)
    for row, before, raw, activation in zip(got, sums, stored, ACTIVATIONS, strict=True):
        value = raw if activation is None else activation(raw)
        wanted = torch.autograd.grad(value.expand(neurons), raw, before)[0]
        torch.testing.assert_close(row if raw.ndim else row.sum(), wanted, rtol=1e-12, atol=1e-12)
