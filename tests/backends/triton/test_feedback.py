"""tt.Feedback on Triton: a product of torch's and the kernel of one step, in turn."""

import pytest
import torch
from torch import nn

import tracetorch as tt
from tests.support.compositions import assert_close, outcome

pytestmark = pytest.mark.triton


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", ["LIB", "DSRLIT"])
def test_equals_eager(name, bias):
    layer = tt.Feedback(getattr(tt.snn, name)(6), nn.Linear(6, 6, bias=bias)).double()
    x = torch.randn(4, 2, 6, dtype=torch.float64)
    for options in ({}, {"lengths": [4, 2]}):
        want = outcome(layer, lambda v, o=options: tt.scan(layer, v, backend="eager", **o), x)
        assert_close(outcome(layer, lambda v, o=options: tt.scan(layer, v, backend="triton", **o), x), want)


def test_steps_equal_the_scan():
    layer = tt.Feedback(tt.snn.LIB(6), nn.Linear(6, 6)).double()
    x = torch.randn(4, 2, 6, dtype=torch.float64)
    with tt.backend("triton"), torch.no_grad():
        y = tt.scan(layer, x)
        layer.zero_states()
        assert_close(torch.stack([layer(x_t) for x_t in x]), y)


def test_random_draws_are_those_of_eager():
    layer = tt.Feedback(tt.snn.LIB(6, quant_fn=tt.functional.probabilistic_ste()), nn.Linear(6, 6)).double()
    x = torch.randn(4, 2, 6, dtype=torch.float64)
    found = []
    for backend in ("eager", "triton"):
        torch.manual_seed(3)
        layer.zero_states()
        found.append(tt.scan(layer, x, backend=backend))
    assert_close(found[1], found[0])
