"""tt.Feedback under torch.compile, torch.export and torch.func, and where no loop holds the product."""

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
def model():
    torch.manual_seed(0)
    yield nn.Sequential(nn.Linear(4, 6), tt.Feedback(tt.snn.SLIB(6), nn.Linear(6, 6)), nn.Linear(6, 3))
    torch._dynamo.reset()


def test_compiled_scan_at_changed_sizes(model):
    compiled = torch.compile(lambda x: tt.scan(model, x), fullgraph=True, dynamic=True)
    for shape in ((5, 2, 4), (5, 3, 4), (8, 3, 4)):
        x = torch.randn(shape)
        want = outcome(model, lambda v: tt.scan(model, v, backend="eager"), x)
        torch.testing.assert_close(outcome(model, compiled, x), want, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_compiled_step_carries_states(model):
    x = torch.randn(4, 2, 4)
    want = torch.stack([model(x_t) for x_t in x])
    tt.zero_states(model)
    step = torch.compile(model, fullgraph=True)
    torch.testing.assert_close(torch.stack([step(x_t) for x_t in x]), want, rtol=1e-4, atol=1e-5)


def test_compiled_scan_sees_weights_written_in_place(model):
    compiled, x = torch.compile(lambda x: tt.scan(model, x), fullgraph=True), torch.randn(5, 2, 4)
    with torch.no_grad():
        compiled(x)
        model[1].path.weight.data.mul_(3.0)
        tt.zero_states(model)
        got = compiled(x)
        tt.zero_states(model)
        torch.testing.assert_close(got, tt.scan(model, x, backend="eager"), rtol=1e-4, atol=1e-5)


def test_compiled_scan_of_a_padded_batch(model):
    compiled = torch.compile(lambda x: tt.scan(model, x, lengths=[5, 2]), fullgraph=True)
    x = torch.randn(5, 2, 4)
    want = outcome(model, lambda v: tt.scan(model, v, lengths=[5, 2], backend="eager"), x)
    torch.testing.assert_close(outcome(model, compiled, x), want, rtol=1e-4, atol=1e-5)


def test_exported_step_takes_and_returns_states(model):
    layer = model[1]
    check_exported_step(layer, torch.randn(6, 3, 6), [name for name in layer.carried_states() if name != "rng"])


@pytest.mark.filterwarnings("ignore:.*is scanned step by step in Python")
def test_vmap_over_a_step(model):
    layer, x = model[1], torch.randn(5, 3, 6)
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
    step, call = layer.described(torch.float64, x.device)
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
