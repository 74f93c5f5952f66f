"""What holds for any composition, shape, dimension, rank, layout in memory and start state."""

import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import tracetorch as tt
from tests.support.compositions import assert_close, gradients, states, stepped
from tests.support.strategies import KINDS, PROPERTY, cases


@pytest.fixture(autouse=True)
def _on(backend):
    with tt.backend(backend):
        yield


def held(layer, y):
    """The output and the states of a layer."""
    return [y, *states(layer).values()]


def run(case, how, layer=None, **options):
    """Run a layer over the input of a case: output, states, and all gradients of a fixed loss on both."""
    torch.manual_seed(0)
    layer = case.layer(**options) if layer is None else layer
    x = case.input().requires_grad_()
    leaves = [state.requires_grad_() for state in states(layer).values() if state is not None]
    y = how(layer, x)
    return [*held(layer, y), *gradients(layer, y, x, *leaves)]


def test_the_random_compositions_are_varied():
    pipelines = [kind.composition.cls.pipeline for kind in KINDS]
    for what in ("dual", "sided", "fires"):
        assert {getattr(p, what) for p in pipelines} == {True, False}
    assert {kind.composition.hard for kind in KINDS} == {kind.dtype == torch.float32 for kind in KINDS} == {True, False}
    assert any(kind.scalars for kind in KINDS) and any(kind.fixed for kind in KINDS)


@PROPERTY
@given(cases())
def test_scan_equals_stepping(case):
    with tt.backend("eager"):
        want = run(case, stepped)
    assert_close(run(case, tt.scan), want)


@PROPERTY
@given(cases(least_steps=2), st.data())
def test_two_scans_equal_one(case, data):
    cut = data.draw(st.integers(1, case.steps - 1))

    def twice(layer, x):
        return torch.cat([tt.scan(layer, x[:cut]), tt.scan(layer, x[cut:])])

    assert_close(run(case, twice), run(case, tt.scan))


@PROPERTY
@given(cases(least_steps=2), st.data())
def test_the_past_does_not_depend_on_the_future(case, data):
    cut = data.draw(st.integers(1, case.steps - 1))
    x = case.input()
    torch.manual_seed(0)
    y = tt.scan(case.layer(), x)
    later = torch.cat([x[:cut], x[cut:] + 1.0])
    torch.manual_seed(0)
    assert_close(tt.scan(case.layer(), later)[:cut], y[:cut])


@PROPERTY
@given(cases(batches=1).filter(lambda case: not case.random), st.data())
def test_the_order_of_the_batch_does_not_matter(case, data):
    axis = data.draw(st.sampled_from([a for a in range(len(case.shape)) if a != case.dim % len(case.shape)]))
    order = torch.tensor(data.draw(st.permutations(range(case.shape[axis]))), dtype=torch.long)
    x, one, other = case.input(), case.layer(), case.layer()
    for name, state in states(other).items():
        if state is not None:
            setattr(other, name, state.index_select(axis, order))
    y = tt.scan(one, x)
    assert_close(tt.scan(other, x.index_select(axis + 1, order)), y.index_select(axis + 1, order))
    assert_close(states(other), {name: s.index_select(axis, order) for name, s in states(one).items()})


@PROPERTY
@given(cases().filter(lambda case: not case.random), st.data())
def test_the_place_of_the_neuron_dimension_does_not_matter(case, data):
    """Moving the neurons elsewhere in the input moves the output, its states and its gradient."""
    axis, to = case.dim % len(case.shape), data.draw(st.integers(0, len(case.shape) - 1))
    moved = case.layer(dim=data.draw(st.sampled_from([to, to - len(case.shape)])))
    for name, state in states(moved).items():
        if state is not None:
            setattr(moved, name, state.movedim(axis, to))
    layer, x = case.layer(), case.input()
    want = tt.scan(layer, x)
    assert_close(tt.scan(moved, x.movedim(axis + 1, to + 1)), want.movedim(axis + 1, to + 1))
    assert_close(states(moved), {name: s.movedim(axis, to) for name, s in states(layer).items()})


@PROPERTY
@given(cases())
def test_one_value_for_all_equals_that_value_for_each(case):
    n = case.shape[case.dim]
    layer = case.layer()
    values = {name: getattr(layer, name).detach().expand(n).clone() for name in layer.pipeline.parameters}
    x = case.input()
    torch.manual_seed(0)
    want = held(layer, tt.scan(layer, x))
    torch.manual_seed(0)
    spread = case.layer(**values)
    assert all(p.shape == (n,) for p in spread.state_dict().values())
    assert_close(held(spread, tt.scan(spread, x)), want)


@PROPERTY
@given(cases(), st.data())
def test_time_may_lie_anywhere(case, data):
    at = data.draw(st.integers(-len(case.shape) - 1, len(case.shape)))
    plain = run(case, tt.scan)
    moved = run(case, lambda layer, x: tt.scan(layer, x.movedim(0, at), time_dim=at).movedim(at, 0))
    assert_close(moved, plain)


@PROPERTY
@given(cases(least_steps=2), st.data())
def test_saved_states_continue_the_run(case, data):
    cut = data.draw(st.integers(1, case.steps - 1))
    x, layer = case.input(), case.layer()
    tt.scan(layer, x[:cut])
    other = case.layer()
    other.zero_states()
    other.load_states(layer.save_states())
    want = held(layer, tt.scan(layer, x[cut:]))
    assert_close(held(other, tt.scan(other, x[cut:])), want)


@PROPERTY
@given(cases(least_steps=2), st.sampled_from([copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))]))
def test_copies_behave_the_same_after_a_training_step(case, copied):
    x, layer = case.input(), case.layer()
    tt.scan(layer, x[:1].requires_grad_()).sum().backward()
    with torch.no_grad():
        for p in layer.parameters():
            p -= 0.01 * (0 if p.grad is None else p.grad)
    twin = copied(layer)
    layer.detach_states()
    assert_close(held(twin, tt.scan(twin, x[1:])), held(layer, tt.scan(layer, x[1:])))


@PROPERTY
@given(cases())
def test_compiled_layers_compute_the_same(case):
    x = case.input()
    torch.manual_seed(0)
    layer = case.layer()
    want = held(layer, tt.scan(layer, x))
    torch.manual_seed(0)
    frozen = case.layer()
    frozen.TTcompile()
    assert_close(held(frozen, tt.scan(frozen, x)), want)


@PROPERTY
@given(cases(), st.integers(1, 3), st.data())
def test_a_module_scanned_equals_the_module_stepped(case, batch, data):
    """Two layers among linear ones, time folded into the batch; both draw random numbers from the same seeds."""
    first = case.like(shape=(batch, 4), dim=-1)
    second = data.draw(st.sampled_from([kind for kind in KINDS if kind.dtype == case.dtype]))
    second = case.like(kind=second, shape=(batch, 2), dim=-1, warm=False)
    x = torch.randn(case.steps, batch, 5, dtype=case.dtype)

    def run(how):
        torch.manual_seed(1)
        one, other = first.layer(), second.layer()
        one.rng = other.rng = torch.tensor([7, 0])
        module = nn.Sequential(nn.Linear(5, 4), one, nn.Linear(4, 2), other, nn.Linear(2, 2)).to(case.dtype)
        y = how(module, x)
        weight = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
        grads = torch.autograd.grad((y * weight).sum(), list(module.parameters()), materialize_grads=True)
        return [*held(one, y), *states(other).values(), *grads]

    with tt.backend("eager"):
        want = run(stepped)
    assert_close(run(tt.scan), want)
