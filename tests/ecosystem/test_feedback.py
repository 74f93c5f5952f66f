"""tt.Feedback under torch.export and torch.func, and where no loop holds the product."""

import pytest
import torch
from torch import nn

import tracetorch as tt
from tests.support.compositions import assert_close, outcome
from tests.support.exported import check_exported_step
from tracetorch.backends import choose
from tracetorch.backends.alternating import Alternating
from tracetorch.backends.cpp import matrix
from tracetorch.fusion import cache


@pytest.fixture
def layer():
    return tt.Feedback(tt.snn.SLIB(6), nn.Linear(6, 6))


def test_exported_step_takes_and_returns_states(layer):
    check_exported_step(layer, torch.randn(6, 3, 6), [name for name in layer.carried_states() if name != "rng"])


@pytest.mark.filterwarnings("ignore:.*is scanned step by step in Python")
def test_vmap_over_a_step(layer):
    x = torch.randn(5, 3, 6)
    states = {name: torch.zeros(5, 3, 6) for name in ("fed", "syn", "mem")}
    y, new = torch.func.vmap(layer.step)(x, states)
    want, _ = layer.step(x)
    torch.testing.assert_close(y, want)
    assert set(new) == set(states)


@pytest.fixture
def alternating(monkeypatch):
    """A processor for which the matrix library has no code."""
    monkeypatch.setattr(matrix, "why_not", lambda: "no AVX2")
    cache._known.clear()
    yield
    cache._known.clear()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("cls", [tt.snn.LIB, tt.snn.DSRLITS], ids=lambda cls: cls.__name__)
def test_product_and_kernel_alternate_where_no_loop_holds_both(alternating, cls, bias):
    layer = tt.Feedback(cls(6), nn.Linear(6, 6, bias=bias)).double()
    x = torch.randn(13, 2, 6, dtype=torch.float64)
    step, call = layer.step_and_call(torch.float64, x.device)
    assert isinstance(choose.load("cpp").program_of(step, call.dtype, call.io, call.ranks, ()), Alternating)
    want = outcome(layer, lambda v: tt.scan(layer, v, backend="eager"), x)
    assert_close(outcome(layer, lambda v: tt.scan(layer, v, backend="cpp"), x), want)
    want = outcome(layer, lambda v: tt.scan(layer, v, lengths=[13, 5], backend="eager"), x)
    assert_close(outcome(layer, lambda v: tt.scan(layer, v, lengths=[13, 5], backend="cpp"), x), want)
    layer.zero_states()
    want, recorded = tt.scan(layer, x, record="fed", backend="eager")
    layer.zero_states()
    got, found = tt.scan(layer, x, record="fed", backend="cpp")
    assert_close([got, found["fed"]], [want, recorded["fed"]])
