"""What happens to an output after a scan does not reach its backward pass, which reads the input alone."""

import copy

import pytest
import torch
from torch.nn import functional as F

import tracetorch as tt

X = torch.randn(23, 3, 5, generator=torch.Generator().manual_seed(1))


def layer_of():
    return tt.snn.LIB(5, beta=torch.linspace(0.1, 0.9, 5))


def gradients(layer, x, backend, after):
    x = x.detach().clone().requires_grad_()
    layer.zero_grad()
    layer.zero_states()
    after(tt.scan(layer, x, backend=backend), x).sum().backward()
    return [x.grad, *(p.grad for p in layer.parameters())]


AFTER = {
    "a residual sum": lambda y, x: y.add_(x),
    "scaled": lambda y, x: y.mul_(2.0),
    "dropout": lambda y, x: F.dropout(y, 1.0, inplace=True) + y,
    "written through data": lambda y, x: y + 0 * y.data.zero_(),
    "written through NumPy": lambda y, x: y + float(y.detach().numpy().fill(0) is None),
}


@pytest.mark.parametrize("name", AFTER)
def test_an_output_may_be_written_over(name):
    layer = layer_of()
    got = gradients(layer, X, "cpp", AFTER[name])
    want = gradients(copy.deepcopy(layer).double(), X.double(), "eager", AFTER[name])
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a.double(), b, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("unpack", [lambda t: t.clone(), lambda t: t.mT.contiguous().mT if t.ndim > 1 else t],
                         ids=["copied", "lies otherwise"])
def test_what_is_packed_away_may_come_back_lying_otherwise(unpack):
    layer = layer_of()
    want = gradients(layer, X, "cpp", lambda y, x: y)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.detach(), unpack):
        got = gradients(layer, X, "cpp", lambda y, x: y)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, atol=0, rtol=0)
