"""tt.functional against the recorded tables: values, derivatives, ranges, the random quantisers' means."""

import pytest
import torch

import tracetorch as tt
from tests.support.golden import MANIFEST

TABLES = MANIFEST["functional"]


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def assert_equals(got, want, tolerance=1e-12):
    torch.testing.assert_close(got, double(want), rtol=tolerance, atol=tolerance)


def quantiser(name, row):
    factory = getattr(tt.functional, name)
    return factory() if row.get("step") is None else factory(row["step"])


def value_and_gradient(fn, row):
    x = double(row["x"]).requires_grad_()
    y = fn(x)
    (gradient,) = torch.autograd.grad(y, x, double(row["cot"]))
    return y.detach(), gradient


@pytest.mark.parametrize("name", TABLES["scalar"])
def test_decay_helpers(name):
    for x, y in TABLES["scalar"][name]:
        assert getattr(tt.functional, name)(x) == pytest.approx(y, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("name", TABLES["tensor"])
def test_transforms_and_their_derivatives(name):
    x = double(TABLES["tensor"][name]["x"]).requires_grad_()
    y = getattr(tt.functional, name)(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert_equals(y.detach(), TABLES["tensor"][name]["y"], 1e-10)
    assert_equals(gradient, TABLES["tensor"][name]["dy"], 1e-9)


OUT_OF_RANGE = [(name, row["x"]) for name, rows in TABLES["raises"].items() for row in rows]


@pytest.mark.parametrize(("name", "x"), OUT_OF_RANGE)
def test_values_out_of_range_are_refused(name, x):
    with pytest.raises(ValueError):
        getattr(tt.functional, name)(double(x))


@pytest.mark.parametrize("row", TABLES["round_ste"], ids=lambda row: f"step={row['step']}")
def test_round_ste(row):
    y, gradient = value_and_gradient(quantiser("round_ste", row), row)
    assert_equals(y, row["y"])
    assert_equals(gradient, row["gx"])


RANDOM = [("stochastic_round_ste", row) for row in TABLES["stochastic_round_ste"]]
RANDOM += [("probabilistic_ste", TABLES["probabilistic_ste"])]
RANDOM_IDS = [f"{name}-step={row.get('step')}" for name, row in RANDOM]


@pytest.mark.parametrize(("name", "row"), RANDOM, ids=RANDOM_IDS)
def test_random_quantisers(name, row):
    draws = 20000
    quantise = quantiser(name, row)
    assert_equals(value_and_gradient(quantise, row)[1], row["gx"])
    y = quantise(double(row["x"]).repeat(draws, 1))
    for column, support, mean in zip(y.T, row["support"], row["mean"], strict=True):
        assert_equals(column.unique(), sorted(support), 1e-9)
        six_sigma = 6 * (max(support) - min(support)) / 2 / draws**0.5 + 1e-9
        assert abs(float(column.mean()) - mean) <= six_sigma
