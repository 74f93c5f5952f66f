"""What users assign, contain and return that a layer has to make sense of, or refuse."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

import tracetorch as tt
from tests.support.messages import fails
from tests.support.rounding import check_rounds_as_eager, output

X = torch.rand(6, 2, 3, generator=torch.Generator().manual_seed(0))


def scanned(layer, backend="auto"):
    layer.zero_states()
    return tt.scan(layer, X.to(next(layer.parameters()).dtype), backend=backend)


@pytest.mark.parametrize("value", [0.5, torch.tensor(0.5), torch.tensor([0.2, 0.5, 0.8])], ids=["float", "[]", "[N]"])
def test_an_assigned_value_takes_effect(backend, value):
    layer = tt.snn.LIB(3)
    raw, before = layer.raw_beta, scanned(layer, backend)
    layer.beta = value
    assert layer.raw_beta is raw and raw.requires_grad
    torch.testing.assert_close(layer.beta, torch.as_tensor(value).expand(3))
    made = tt.snn.LIB(3, beta=value)
    assert not torch.equal(scanned(layer, backend), before)
    torch.testing.assert_close(scanned(layer, backend), scanned(made, backend))


def test_an_assigned_value_takes_effect_after_ttcompile():
    layer = tt.snn.LIB(3)
    layer.TTcompile()
    layer.beta = 0.5
    assert layer.beta.tolist() == [0.5] * 3
    torch.testing.assert_close(scanned_(layer), scanned_(tt.snn.LIB(3, beta=0.5)))


def scanned_(layer):
    layer.zero_states()
    with torch.no_grad():
        return tt.scan(layer, X)


ASSIGNED = {
    "out of range": (lambda layer: setattr(layer, "beta", 1.5), ValueError, ["LIB: beta must be a decay", "1.5"]),
    "another size": (lambda layer: setattr(layer, "beta", torch.rand(4)), ValueError,
                     ["beta must have shape [] or [3]"]),
    "a graph": (lambda layer: setattr(layer, "beta", torch.rand(3, requires_grad=True)), ValueError,
                ["takes a value, no graph", "beta.detach()", "raw_beta"]),
    "one per neuron for one value": (lambda layer: setattr(layer, "threshold", torch.ones(3)), ValueError,
                                     ["threshold is one value for all neurons", "threshold_rank=1"]),
    "no number": (lambda layer: setattr(layer, "beta", "fast"), TypeError, ["beta must be a number or a tensor"]),
}


@pytest.mark.parametrize("name", ASSIGNED)
def test_a_value_that_cannot_be_assigned(name):
    call, kind, says = ASSIGNED[name]
    layer = tt.snn.LIB(3, threshold_rank=0)
    before = [p.clone() for p in layer.parameters()]
    with fails(kind, *says):
        call(layer)
    assert all(torch.equal(a, b) for a, b in zip(before, layer.parameters(), strict=True))


def test_pruned(backend):
    layer = tt.snn.LIB(3)
    prune.custom_from_mask(layer, "raw_beta", torch.tensor([1.0, 0.0, 1.0]))
    for _ in range(2):      # after a step of an optimizer as well
        y = scanned(layer, backend)
        assert layer.beta[1] == 0.5
        y.sum().backward()
        grad = layer.raw_beta_orig.grad
        assert grad[1] == 0 and grad[0] != 0
        with torch.no_grad():
            layer.raw_beta_orig -= 0.1 * grad
    with fails(RuntimeError, "LIB: raw_beta is computed from another tensor", "prune.remove"):
        layer.TTcompile()


class Doubled(nn.Module):
    def forward(self, raw):
        return 2 * raw


def test_parametrized(backend):
    layer = tt.snn.LIB(3)
    beta = layer.beta.detach()
    parametrize.register_parametrization(layer, "raw_beta", Doubled())
    torch.testing.assert_close(layer.beta.detach(), torch.sigmoid(2 * torch.logit(beta)))
    y = scanned(layer, backend)
    torch.testing.assert_close(y, scanned(tt.snn.LIB(3, beta=layer.beta.detach()), backend))
    y.sum().backward()
    assert layer.parametrizations.raw_beta.original.grad.abs().min() > 0


def test_backward_through_a_cast_of_the_layer(backend):
    layer = tt.snn.LIB(3)
    tt.scan(layer, X, backend=backend)
    layer.double()
    y = tt.scan(layer, X.double(), backend=backend)
    with fails(RuntimeError, "LIB: state 'mem' was carried across a change", "detach_states()"):
        y.sum().backward()
    layer.detach_states()
    tt.scan(layer, X.double(), backend=backend).sum().backward()


def test_vmap_leaves_nothing_in_the_states():
    layer = tt.snn.LIB(3)
    with tt.backend("eager"):
        for call in (layer, lambda v: tt.scan(layer, v[None])):
            with fails(RuntimeError, "LIB: called under torch.vmap", "layer.step"):
                torch.vmap(call)(torch.rand(4, 2, 3))
            assert layer.mem is None
        y = torch.vmap(lambda v: layer.step(v)[0])(torch.rand(4, 2, 3))
    assert y.shape == (4, 2, 3) and layer.mem is None


class Pair(tt.Stage):
    place = "drive"
    both = tt.State()

    def step(self, s):
        s.both = (s.drive, s.drive)


class TupleOut(tt.Stage):
    place = "output"

    def step(self, s):
        s.output = (s.output, s.output)


class TupleLater(tt.Stage):
    place = "output"

    def step(self, s):
        s.output = s.output if s.x.ndim == 1 else (s.output, s.output)


def test_a_tuple_that_only_a_later_step_assigns_is_named():
    said = fails(TypeError, "s.output holds a tuple", "one tensor of the step's shape, or a number")
    with tt.backend("eager"), said:
        tt.compose(TupleLater, tt.Binary)(3)(torch.rand(2, 3))


def test_a_tuple_in_a_step_is_named_at_compose():
    with fails(ValueError, "tt.compose: stage Pair, line", "assigns a tuple to s.both", "one tt.State for each part"):
        tt.compose(Pair, tt.Binary)
    with fails(ValueError, "tt.compose: stage ", "(`s.output = ", "assigns a tuple to s.output"):
        tt.compose(TupleOut, tt.Binary)


def test_a_slip_of_the_pen_is_told_at_compose():
    class Slips(tt.Stage):
        place = "drive"
        slow = tt.State()

        def step(self, s):
            s.slwo = 0.9 * s.slow + s.drive

    class Notes(tt.Stage):
        place = "drive"

        def step(self, s):
            s.current = 2 * s.drive     # to be recorded

    with pytest.warns(UserWarning, match=r"s\.slwo is assigned and nothing reads it; is s\.slow meant\?"):
        tt.compose(Slips, tt.Binary)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tt.compose(Notes, tt.Binary)


class Kind(tt.Stage):
    place = "drive"

    def __init__(self, kind=2):
        self.kind = kind

    def step(self, s):
        s.drive = s.drive * (1.0 if self.kind is True else 5.0 if isinstance(self.kind, float) else 3.0)


def test_configurations_that_are_equal_but_not_the_same():
    classes = [tt.compose(Kind(k), tt.Binary) for k in (1, 1.0, True)]
    assert len(set(classes)) == 3
    outputs = [scanned(cls(3)) for cls in classes]
    assert not torch.equal(outputs[0], outputs[1]) and not torch.equal(outputs[0], outputs[2])
    assert tt.compose(Kind(1), tt.Binary) is classes[0]
    for layer in (cls(3) for cls in classes):
        check_rounds_as_eager(layer, lambda x, layer=layer: tt.scan(layer, x), X, output)


def test_states_that_are_no_dict():
    with fails(TypeError, "load_states: expected a dict of tensors", "NoneType", "zero_states()"):
        tt.load_states(tt.snn.LIB(3), None)


def test_recording_one_name_of_a_pair():
    with fails(ValueError, "nothing called 'mem' to record", "record ['pos_mem', 'neg_mem']"):
        tt.scan(tt.snn.DLIB(3), X, record="mem")


def test_a_parameter_that_has_lost_its_shape(backend):
    layer = tt.snn.LIB(3)
    tt.scan(layer, X, backend=backend)
    layer.raw_beta.data = torch.zeros(2)
    for call in (lambda: tt.scan(layer, X, backend=backend), lambda: layer(X[0])):
        with fails(ValueError, "LIB: what is stored of beta has shape [2]", "[] or [3]"):
            call()
