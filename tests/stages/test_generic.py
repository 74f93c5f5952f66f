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
    inputs,
    name_of,
    states,
    stepped,
)
from tracetorch import testing

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


every, extremes, smallest = over(COMPOSITIONS), over(EXTREMES), over(SMALLEST, fused=SMALLEST[::3])
predictable = over([c for c in COMPOSITIONS if not c.random])
differentiable = over([c for c in COMPOSITIONS if not c.random and not c.detached])
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
    """Output: promoted dtype of input and parameters, if there are any. States: float32 or wider."""
    wide = torch.promote_types(given, held) if composition.cls.pipeline.parameters else given
    x = inputs(3, 2, 3, dtype=given)
    layer = composition.build(dtype=held)
    y = tt.scan(layer, x)
    assert y.dtype == wide
    assert all(state.dtype == torch.promote_types(wide, torch.float32) for state in states(layer).values())
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
    assert_close(states(layer), states(wide), 0)


@differentiable
def test_gradients_equal_finite_differences(composition):
    testing.gradients_equal_differences(composition)



@every
def test_scan_equals_stepping(composition):
    testing.scan_equals_stepping(composition)



@every
def test_two_scans_equal_one(composition):
    testing.two_scans_equal_one(composition)



@predictable
def test_the_order_of_the_batch_does_not_matter(composition):
    testing.batch_order_does_not_matter(composition)



@every
def test_saved_and_loaded_states_continue_the_run(composition):
    testing.saved_states_continue(composition)



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
    testing.copies_continue(composition, COPIES[copied])



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


@over([c for c in EXTREMES if c.cls.pipeline.parameters], fused=SMALLEST)
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
    testing.every_parameter_takes_part(composition)
