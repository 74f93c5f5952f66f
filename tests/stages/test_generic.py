"""What every stage keeps, alone and in company, those of tests/stages/own included, on every backend."""

import copy
import io
import pickle

import pytest
import torch

import tracetorch as tt
from tests.conftest import BACKENDS
from tests.support.compositions import (
    COMPOSITIONS,
    EXTREMES,
    SMALLEST,
    STAGES,
    accepted,
    assert_close,
    gradients,
    inputs,
    name_of,
    start,
    states,
    stepped,
)

SHAPES = {
    "no batch": ((3,), -1, 3),
    "one neuron": ((2, 1), -1, 1),
    "one element": ((1,), 0, 1),
    "empty batch": ((0, 3), -1, 3),
    "many batch dims": ((2, 1, 2, 3), -1, 3),
    "neurons first": ((4, 2), 0, 4),
    "conv maps": ((2, 3, 2, 2), -3, 3),
}


def over(compositions, fused=EXTREMES):
    """Run a test over compositions; on a backend that has to compile each of them only over those in `fused`."""
    pairs = [(backend, c) for backend in BACKENDS for c in compositions if backend == "eager" or c in fused]
    ids = [f"{backend}-{name_of(c)}" for backend, c in pairs]
    return pytest.mark.parametrize("backend, composition", pairs, indirect=["backend"], ids=ids)


def detached(composition):
    """A detached reset is on purpose not the derivative of what it computes."""
    return any(isinstance(stage, tt.Reset) and stage.detach for stage in composition.cls.stages)


every, extremes, smallest = over(COMPOSITIONS), over(EXTREMES), over(SMALLEST, fused=SMALLEST[::3])
predictable = over([c for c in COMPOSITIONS if not c.random])
differentiable = over([c for c in COMPOSITIONS if not c.random and not detached(c)])
firing = over([c for c in COMPOSITIONS if c.fires])


@pytest.fixture(autouse=True)
def _on(backend):
    with tt.backend(backend):
        yield


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)
def test_stage_composes_plainly_and_with_company(stage):
    own = [c for c in accepted(stage) if any(isinstance(s, stage) for s in c.cls.stages)]
    assert len(own) == len(accepted(stage)) >= 3
    assert stage is tt.Ternary or any(not c.cls.pipeline.sided for c in own)
    assert any(c.cls.pipeline.dual for c in own)


@extremes
@pytest.mark.parametrize("shape", SHAPES)
def test_output_and_states_have_the_shape_of_the_input(composition, shape):
    shape, dim, n = SHAPES[shape]
    layer = composition.build(n, dim=dim)
    y = tt.scan(layer, inputs(2, *shape))
    assert y.shape == (2, *shape)
    assert all(state.shape == shape for state in states(layer).values())
    assert torch.isfinite(y).all()


@smallest
@pytest.mark.parametrize("held", [torch.float32, torch.float64], ids=["held float32", "held float64"])
@pytest.mark.parametrize("given", [torch.bfloat16, torch.float16, torch.float32, torch.float64], ids=str)
def test_dtypes(composition, held, given):
    """Output: promoted dtype of input and parameters. States: float32 or wider."""
    wide = torch.promote_types(given, held)
    x = inputs(3, 2, 3, dtype=given)
    layer = composition.build(dtype=held)
    y = tt.scan(layer, x)
    assert y.dtype == wide
    assert all(state.dtype == wide for state in states(layer).values())
    torch.manual_seed(0)
    assert stepped(composition.build(dtype=held), x).dtype == wide


@smallest
@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16], ids=str)
def test_low_precision_is_the_rounded_float32_computation(composition, low):
    x = inputs(4, 2, 3, dtype=low)
    layer = composition.build(dtype=low)
    wide = copy.deepcopy(layer).float()
    torch.manual_seed(0)
    y = tt.scan(layer, x)
    torch.manual_seed(0)
    want = tt.scan(wide, x.float())
    assert y.dtype == low
    assert_close(y, want.to(low), torch.finfo(low).eps)
    assert_close(states(layer), states(wide), 1e-5)


@differentiable
def test_gradients_equal_finite_differences(composition):
    layer = composition.build(2, hard=torch.relu)
    x = inputs(4, 1, 2).requires_grad_()
    first = list(start(layer, (1, 2), requires_grad=True).values())

    def run(x, *leaves):
        for name, state in zip(layer.pipeline.states, leaves[: len(first)], strict=True):
            setattr(layer, name, state)
        return (tt.scan(layer, x), *states(layer).values())

    assert torch.autograd.gradcheck(run, (x, *first, *layer.parameters()), fast_mode=True)


def outcome(composition, run, requires_grad=True):
    """Outputs, final states and all gradients of a run from random start states."""
    torch.manual_seed(0)
    layer = composition.build()
    x = inputs(6, 2, 3).requires_grad_(requires_grad)
    first = list(start(layer, (2, 3), requires_grad=requires_grad).values())
    y = run(layer, x)
    return [y, *states(layer).values(), *gradients(layer, y, x, *first)]


@every
def test_scan_equals_stepping(composition):
    with tt.backend("eager"):
        want = outcome(composition, stepped)
    assert_close(outcome(composition, tt.scan), want)


@every
def test_two_scans_equal_one(composition):
    two = outcome(composition, lambda layer, x: torch.cat([tt.scan(layer, x[:2]), tt.scan(layer, x[2:])]))
    assert_close(two, outcome(composition, tt.scan))


@predictable
def test_the_order_of_the_batch_does_not_matter(composition):
    x, order = inputs(5, 4, 3), torch.tensor([2, 0, 3, 1])
    one, other = composition.build(), composition.build()
    assert_close(tt.scan(other, x[:, order]), tt.scan(one, x)[:, order], 1e-12)
    assert_close(list(states(other).values()), [s[order] for s in states(one).values()], 1e-12)


@every
def test_saved_and_loaded_states_continue_the_run(composition):
    x = inputs(6, 2, 3)
    layer, other = composition.build(), composition.build()
    tt.scan(layer, x[:3])
    saved = layer.save_states()
    assert set(states(layer)) <= set(saved) and not any(s.requires_grad for s in saved.values())
    want = tt.scan(layer, x[3:])
    other.load_states(saved)
    assert_close(tt.scan(other, x[3:]), want, 1e-12)
    assert_close(states(other), states(layer), 1e-12)


def torch_saved(layer):
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def pickled(layer):
    return pickle.loads(pickle.dumps(layer))


COPIES = {"pickle": pickled, "deepcopy": copy.deepcopy, "torch.save": torch_saved}


@extremes
@pytest.mark.parametrize("copied", COPIES)
def test_copies_behave_the_same_after_a_training_step(composition, copied):
    x = inputs(6, 2, 3)
    layer = composition.build()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.01)
    tt.scan(layer, x[:3].requires_grad_()).square().sum().backward()
    optimizer.step()
    twin = COPIES[copied](layer)
    assert type(twin) is type(layer)
    assert_close(dict(twin.state_dict()), dict(layer.state_dict()), 0.0)
    layer.detach_states()
    assert_close(tt.scan(twin, x[3:]), tt.scan(layer, x[3:]), 1e-12)
    assert_close(states(twin), states(layer), 1e-12)
    assert all(p.requires_grad and p.is_leaf for p in twin.parameters())


@every
def test_compiled_layers_compute_the_same_and_come_back(composition):
    x = inputs(4, 2, 3)
    layer = composition.build()
    raws = {name: p.detach().clone() for name, p in layer.named_parameters()}
    torch.manual_seed(0)
    want = tt.scan(layer, x)
    for act in (layer.TTcompile, layer.TTdecompile):
        act()
        layer.zero_states()
        torch.manual_seed(0)
        assert_close(tt.scan(layer, x), want)
        if act == layer.TTcompile:
            assert not list(layer.parameters()) and set(layer.state_dict()) == set(layer.pipeline.parameters)
    assert_close({name: p.detach() for name, p in layer.named_parameters()}, raws)
    assert all(p.requires_grad for p in layer.parameters())


@over(EXTREMES, fused=SMALLEST)
def test_training_reduces_a_loss(composition):
    """A layer learns the output of another one with other parameters."""
    x = inputs(8, 64, 3)
    torch.manual_seed(0)
    target = tt.scan(composition.build(seed=9, hard=torch.relu), x).detach()
    layer = composition.build(hard=torch.relu)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    losses = []
    for _ in range(10):
        layer.zero_states()
        torch.manual_seed(0)
        loss = (tt.scan(layer, x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses) < 0.9 * losses[0]


@firing
def test_every_parameter_takes_part(composition):
    """A gradient that is zero everywhere would mean a parameter that nobody reads. (Without spikes some do not.)"""
    layer = composition.build()
    x = inputs(8, 4, 3).requires_grad_()
    start(layer, (4, 3))
    y = tt.scan(layer, x)
    silent = [name for (name, _), g in zip(layer.named_parameters(), gradients(layer, y), strict=True) if not g.any()]
    assert silent == []
