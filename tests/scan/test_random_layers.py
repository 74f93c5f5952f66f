"""Layers that draw random numbers: the same by the seed, however they are run."""

import copy

import pytest
import torch
from torch import nn

import tracetorch as tt
from tests.support.compositions import assert_close, inputs, stepped
from tracetorch import snn

X = inputs(6, 2, 3)


def noisy(**options):
    return snn.LIB(3, quant_fn=tt.functional.probabilistic_ste(), **options).double()


def seeded(how, layer=None):
    torch.manual_seed(11)
    return how(noisy() if layer is None else layer)


WAYS = {
    "stepped": lambda layer: stepped(layer, X),
    "scanned": lambda layer: tt.scan(layer, X),
    "in two scans": lambda layer: torch.cat([tt.scan(layer, X[:2]), tt.scan(layer, X[2:])]),
    "a step, then a scan": lambda layer: torch.cat([layer(X[0])[None], tt.scan(layer, X[1:])]),
}


def saved_between(layer):
    first, other = tt.scan(layer, X[:3]), noisy()
    other.load_states(layer.save_states())
    torch.manual_seed(0)
    return torch.cat([first, tt.scan(other, X[3:])])


def copied_between(layer):
    first = tt.scan(layer, X[:3])
    return torch.cat([first, tt.scan(copy.deepcopy(layer), X[3:])])


@pytest.mark.parametrize("way", [*WAYS.values(), saved_between, copied_between],
                         ids=[*WAYS, "saved and loaded", "copied"])
def test_random_layers_repeat_by_the_seed(way, backend):
    with tt.backend(backend):
        want = seeded(WAYS["stepped"])
        assert set(want.unique().tolist()) - {0.0}
        assert_close(seeded(way), want)


def test_random_numbers_differ_between_seeds_layers_steps_neurons_and_runs():
    x = torch.full((40, 2, 3), 0.1)
    layer = snn.LIB(3, threshold=0.1, quant_fn=tt.functional.probabilistic_ste())
    one = tt.scan(layer, x)
    assert not torch.equal(one, tt.scan(layer, x))
    layer.zero_states()
    again = tt.scan(layer, x)
    assert not torch.equal(one, again)                                          # new random numbers after zeroing
    fired = one != 0
    assert not torch.equal(fired[:, 0], fired[:, 1]) and not torch.equal(fired[..., 0], fired[..., 1])


def test_layers_that_draw_nothing_leave_the_generator_alone():
    layer = snn.LIB(3)
    before = torch.get_rng_state()
    tt.scan(layer, X)
    assert torch.equal(torch.get_rng_state(), before) and layer.rng is None
    assert list(layer.save_states()) == ["mem"]


def test_random_state_is_saved_but_not_in_the_state_dict():
    layer = noisy()
    tt.scan(layer, X)
    assert layer.rng.dtype == torch.int64 and layer.rng[1] == len(X)
    assert "rng" in layer.save_states() and not any("rng" in name for name in layer.state_dict())
    layer.zero_states()
    assert layer.rng is None


def test_loading_states_without_random_numbers_starts_new_ones():
    layer = noisy()
    layer(X[0])
    layer.load_states({"mem": torch.zeros(2, 3)})
    assert layer.rng is None


def test_random_layers_repeat_inside_a_model(backend):
    def model():
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(3, 3), noisy(), nn.Linear(3, 3), noisy()).double()

    one, other = model(), model()
    with tt.backend(backend):
        torch.manual_seed(5)
        want = stepped(one, X)
        torch.manual_seed(5)
        assert_close(tt.scan(other, X), want)
