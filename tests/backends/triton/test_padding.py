"""Padded batches on Triton: outputs, states and gradients of the eager scan, whatever the padding holds."""

import pytest
import torch

import tracetorch as tt

pytestmark = pytest.mark.triton


@pytest.mark.parametrize("name", ["LIB", "DSRLIT"])
def test_padded_scan(name):
    layer = getattr(tt.snn, name)(3, dtype=torch.float64)
    x = torch.randn(5, 3, 3, dtype=torch.float64)
    for b, length in enumerate((5, 2, 0)):
        x[length:, b] = float("nan")
    results = []
    for backend in ("triton", "eager"):
        layer.zero_states()
        layer.zero_grad()
        leaf = x.clone().requires_grad_()
        y = tt.scan(layer, leaf, lengths=[5, 2, 0], backend=backend)
        (y.square().sum() + sum(s.sum() for s in (getattr(layer, n) for n in layer.pipeline.states))).backward()
        results.append([y, leaf.grad, *(p.grad for p in layer.parameters()), *layer.save_states().values()])
    for got, want in zip(*results, strict=True):
        torch.testing.assert_close(got, want)
