"""Backward reads the output where that costs more to compute again: it is the same gradient, and the same refusals."""

import copy

import pytest
import torch

import tracetorch as tt

SHAPE = (23, 3, 5)
X = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
WEIGHT = torch.randn(SHAPE, generator=torch.Generator().manual_seed(2))
SPIKES = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "twice": lambda v: torch.sigmoid(4.0 * v),
    "halved": lambda v: 0.5 * torch.sigmoid(v),      # the output is cheap, what it comes from is not
    "hard": tt.functional.heavi_erfc(1.0),
}
READ = {"sigmoid", "tanh", "twice"}


def layer_of(name):
    return tt.snn.LIB(SHAPE[-1], spike_fn=SPIKES[name], beta=torch.linspace(0.1, 0.9, 5), beta_rank=1)


def program(layer):
    return next(iter(layer._plans.values())).program


def gradients(layer, x, backend, time_dim=0):
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    layer.zero_grad()
    layer.zero_states()
    y = tt.scan(layer, x, backend=backend, time_dim=time_dim)
    (y * WEIGHT[: y.shape[time_dim]].to(y).movedim(0, time_dim)).sum().backward()
    return [x.grad, *(p.grad for p in layer.parameters())]


def assert_right(layer, x, time_dim=0):
    exact = gradients(copy.deepcopy(layer).double(), x.double(), "eager", time_dim)
    for got, want in zip(gradients(layer, x, "cpp", time_dim), exact, strict=True):
        torch.testing.assert_close(got.double(), want, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("steps", [1, 2, 10, 11, 23])
@pytest.mark.parametrize("name", SPIKES)
def test_gradients_are_those_of_float64(name, steps):
    layer = layer_of(name)
    assert_right(layer, X[:steps])
    assert len(program(layer).seen(X, X)) == (2 if name in READ else 1)


def test_time_second():
    assert_right(layer_of("sigmoid"), X.transpose(0, 1).contiguous(), time_dim=1)


@pytest.mark.parametrize("io", [torch.bfloat16, torch.float16])
def test_a_rounded_output_is_not_read(io):
    layer = layer_of("sigmoid")
    with torch.autocast("cpu", dtype=io):
        tt.scan(layer, X.to(io))
    assert len(program(layer).seen(X, X)) == 1


def test_what_is_not_the_output_is_computed_again():
    layer = tt.snn.LITS(5)
    tt.scan(layer, X)
    assert len(program(layer).seen(X, X)) == 1


@pytest.mark.parametrize("run", ["stepped", "scanned"])
def test_an_output_that_was_written_over_is_refused_as_in_stepping(run):
    layer = layer_of("sigmoid")
    y = layer(X[0]) if run == "stepped" else tt.scan(layer, X)
    total = y.sum()
    y.mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()


def test_eager_stepping_refuses_it_too():
    layer = layer_of("sigmoid")
    with tt.backend("eager"):
        y = layer(X[0])
        y2 = layer(X[1])
    total = y.sum() + y2.sum()
    y.mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()


@pytest.mark.parametrize("unpack", [lambda t: t.clone(), lambda t: t.mT.contiguous().mT if t.ndim > 1 else t],
                         ids=["copied", "lies otherwise"])
def test_what_is_packed_away_may_come_back_lying_otherwise(unpack):
    layer = layer_of("sigmoid")
    want = gradients(layer, X, "cpp")
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.detach(), unpack):
        got = gradients(layer, X, "cpp")
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, atol=0, rtol=0)
