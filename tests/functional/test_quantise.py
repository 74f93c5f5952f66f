"""Quantisers: exact values, exact straight-through gradients, tracing, compiling, pickling."""

import pickle

import pytest
import torch

import tracetorch.functional as F
from tests.support.tracing import gradient, operators, trace
from tracetorch.functional.quantise import straight_through

QUANTISERS = [F.round_ste(), F.round_ste(0.1), F.stochastic_round_ste(), F.stochastic_round_ste(0.25)]
EVERY = [*QUANTISERS, F.probabilistic_ste()]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("any_dtype", DTYPES, ids=str)
def test_rounding_is_exact_at_every_size(any_dtype):
    x = torch.randn(1000).mul(100).to(any_dtype)
    for step in (1.0, 0.1, 3.0):
        y, grad = gradient(F.round_ste(step), x, torch.ones_like(x))
        assert torch.equal(y, torch.round(x / step) * step)
        assert torch.equal(grad, torch.ones_like(x))


def test_gradient_goes_straight_through_bit_for_bit():
    x, cotangent = torch.randn(2, 1000).mul(37)
    for quantise in QUANTISERS:
        assert torch.equal(gradient(quantise, x, cotangent)[1], cotangent)


def test_infinities_stay_and_do_not_spoil_the_gradient():
    x = torch.tensor([float("inf"), -float("inf")])
    y, grad = gradient(F.round_ste(), x, torch.ones(2))
    assert torch.equal(y, x) and torch.equal(grad, torch.ones(2))
    assert F.round_ste()(torch.tensor(float("nan"))).isnan()


def test_stochastic_rounding_leaves_levels_alone():
    levels = torch.arange(-8, 9) * 0.25
    for _ in range(20):
        assert torch.equal(F.stochastic_round_ste(0.25)(levels), levels)


def test_stochastic_rounding_is_right_on_average():
    n, x = 40000, torch.tensor([-1.7, -0.2, 0.1, 0.5, 2.9])
    y = F.stochastic_round_ste()(x.expand(n, 5))
    up = x - x.floor()
    sigma = (up * (1 - up) / n).sqrt()
    assert (((y - x.floor()) == 0) | ((y - x.floor()) == 1)).all()
    assert ((y.mean(0) - x).abs() < 4 * sigma + 1e-5).all()


def test_probabilistic_passes_x_with_probability_x():
    n, x = 40000, torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0])
    y = F.probabilistic_ste()(x.expand(n, 5))
    passed = y != 0
    assert torch.equal(y[passed], x.expand(n, 5)[passed])
    sigma = (x * (1 - x) / n).sqrt()
    assert ((passed.float().mean(0) - x).abs() <= 4 * sigma).all()


def test_probabilistic_gradient_is_that_of_the_mean():
    x, cotangent = torch.rand(100), torch.randn(100)
    torch.testing.assert_close(gradient(F.probabilistic_ste(), x, cotangent)[1], 2 * x * cotangent)


def test_beyond_the_unit_interval_probabilities_are_clipped():
    x = torch.tensor([-0.5, 1.5])
    assert F.probabilistic_ste()(x).tolist() == [0.0, 1.5]


def test_straight_through_to_another_path():
    x = torch.tensor([0.3, -2.0], requires_grad=True)
    y = straight_through(torch.round, x, path=torch.sin(x))
    y.sum().backward()
    assert y.tolist() == [0.0, -2.0]
    assert torch.equal(x.grad, torch.cos(x.detach()))


@pytest.mark.parametrize("quantise", EVERY, ids=repr)
def test_traces_to_elementwise_operators(quantise, dtype):
    x, cotangent = torch.rand(2, 4, dtype=dtype)
    graph = trace(quantise, x)
    draws = operators(graph).count(torch.ops.tracetorch.draw.default)
    assert draws == (type(quantise).__name__ != "round_ste")
    torch.manual_seed(1)
    got = graph(x, cotangent)
    torch.manual_seed(1)
    want = gradient(quantise, x, cotangent)
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


@pytest.mark.parametrize("quantise", [F.round_ste(0.5), F.stochastic_round_ste(), F.probabilistic_ste()], ids=repr)
def test_compiles_without_a_graph_break(quantise):
    x = torch.rand(8, requires_grad=True)
    compiled = torch.compile(quantise, fullgraph=True, backend="aot_eager")
    torch.manual_seed(1)
    y = compiled(x)
    (grad,) = torch.autograd.grad(y.sum(), x)
    torch.manual_seed(1)
    want, want_grad = gradient(quantise, x, torch.ones(8))
    assert torch.equal(y, want) and torch.equal(grad, want_grad)


@pytest.mark.parametrize("quantise", EVERY, ids=repr)
def test_pickles_compares_and_shows_its_step(quantise):
    assert pickle.loads(pickle.dumps(quantise)) == quantise
    assert eval(repr(quantise), vars(F)) == quantise
    assert len({quantise, pickle.loads(pickle.dumps(quantise))}) == 1


def test_different_quantisers_differ():
    assert F.round_ste(0.5) != F.round_ste(0.25)
    assert F.round_ste() != F.stochastic_round_ste()


@pytest.mark.parametrize("bad", [0, -1.0, float("inf"), float("nan"), "1"])
@pytest.mark.parametrize("make", [F.round_ste, F.stochastic_round_ste])
def test_bad_steps_are_refused(make, bad):
    with pytest.raises(ValueError, match=rf"{make.__name__}: step_size must be .* greater than 0 \(got {bad!r}\)"):
        make(bad)
