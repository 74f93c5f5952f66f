"""tt.Feedback against the same neurons in plain PyTorch: `neuron(x + path(fed))`, one step after another."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrize, prune

import tracetorch as tt
from tests.support.compositions import assert_close
from tests.support.feedback import feedback, gradients, reference
from tests.support.rounding import assert_as_right, nearby
from tests.support.strategies import KINDS, PROPERTY


class Wide(tt.Stage):
    """Adds a quarter of the drive before last, and draws noise."""

    place = "drive"
    before = tt.State()

    def step(self, s):
        for b in s.branches:
            b.drive = b.drive + 0.25 * s.before
        s.before = s.x


SHAPES = [(12, (0, 6)), (13, (5, 20)), (23, (1, 70)), (12, (130,)), (25, (7, 300)), (1, (4, 16)), (11, (2, 3, 8))]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("cls", [tt.snn.LIB, tt.snn.DSRLITS, tt.snn.LI, tt.compose(Wide, tt.Adaptive, tt.Binary)],
                         ids=lambda cls: cls.__name__)
@pytest.mark.parametrize(("steps", "shape"), SHAPES, ids=str)
def test_equals_the_definition(backend, cls, bias, steps, shape):
    layer = feedback(cls(shape[-1]), bias=bias)
    x = torch.randn(steps, *shape, dtype=torch.float64, requires_grad=True)
    want = reference(layer, x)
    wanted = [want, *gradients(layer, want, x), *layer.neuron.save_states().values()]
    layer.zero_states()
    y = tt.scan(layer, x, backend=backend)
    assert_close([y, *gradients(layer, y, x), *layer.neuron.save_states().values()], wanted)
    assert torch.equal(layer.fed, y[-1])


def test_a_gradient_that_does_not_pass_the_path_would_be_seen():
    """The comparison above can fail: gradients with the way back cut differ."""
    layer = feedback(tt.snn.LIB(20))
    x = torch.randn(13, 5, 20, dtype=torch.float64, requires_grad=True)
    y = tt.scan(layer, x)
    whole = gradients(layer, y, x)[0]
    layer.zero_states()
    fed, ys = torch.zeros(5, 20, dtype=torch.float64), []
    for x_t in x:
        ys.append(layer.neuron(x_t + layer.path(fed.detach())))
        fed = ys[-1]
    cut = gradients(layer, torch.stack(ys), x)[0]
    assert ((whole - cut).abs().max() / whole.abs().max()).item() > 0.05


@PROPERTY
@given(st.sampled_from(KINDS), st.integers(1, 12), st.integers(1, 4), st.integers(1, 9), st.booleans(), st.booleans())
def test_random_neurons_with_start_states(kind, steps, batch, neurons, bias, warm):
    layer = feedback(kind.composition.build(neurons, seed=3, dtype=torch.float64), bias=bias)
    x = torch.randn(steps, batch, neurons, dtype=torch.float64, requires_grad=True)
    starts = {name: 0.3 * torch.randn(batch, neurons, dtype=torch.float64) for name in layer.neuron.pipeline.states}
    fed = 0.3 * torch.randn(batch, neurons, dtype=torch.float64)
    leaves = [t.requires_grad_() for t in (*starts.values(), fed)]

    def begin():
        torch.manual_seed(2)
        layer.zero_states()
        for name, state in starts.items() if warm else ():
            setattr(layer.neuron, name, state)

    begin()
    want = reference(layer, x, fed if warm else None)
    wanted = [want, *gradients(layer, want, x, *leaves)]
    begin()
    layer.fed = fed if warm else None
    y = tt.scan(layer, x, backend="cpp")
    assert_close([y, *gradients(layer, y, x, *leaves)], wanted)


def hard(neurons, **options):
    return tt.snn.LIB(neurons, spike_fn=tt.functional.heavi_erfc(1.0), **options)


@pytest.mark.parametrize("neurons", [hard, tt.snn.DSRLITS, tt.snn.LI], ids=["hard", "DSRLITS", "LI"])
@pytest.mark.parametrize(("steps", "shape"), [*SHAPES, (30, (37, 256)), (5, (2, 1100))], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_scan_step_split_and_any_batch_give_the_same_bits(neurons, steps, shape, dtype):
    layer = feedback(neurons(shape[-1]), dtype=dtype)
    x = 2 * torch.randn(steps, *shape, dtype=dtype)
    with torch.no_grad():
        y = tt.scan(layer, x)
        end = layer.save_states()
        layer.zero_states()
        assert torch.equal(torch.stack([layer(x_t) for x_t in x]), y)
        for name, state in layer.save_states().items():
            assert torch.equal(state, end[name])
        layer.zero_states()
        cut = steps // 3
        parts = [tt.scan(layer, part) for part in (x[:cut], x[cut:]) if len(part)]
        assert torch.equal(torch.cat(parts), y)
        if len(shape) > 1:
            layer.zero_states()
            assert torch.equal(tt.scan(layer, x[:, :1].contiguous()), y[:, :1])


def test_threads_do_not_show():
    layer, x = feedback(hard(256), dtype=torch.float32), 2 * torch.randn(40, 64, 256)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 8):
            torch.set_num_threads(threads)
            layer.zero_states()
            leaf = x.clone().requires_grad_()
            y = tt.scan(layer, leaf)
            found.append([y, *gradients(layer, y, leaf)])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(16,), (1, 20), (5, 130), (40, 24)], ids=str)
def test_gradients_of_single_steps(shape, bias):
    """In float32 against float64: one step of few rows takes a way of its own backward."""
    layer = feedback(tt.snn.SLIB(shape[-1]), bias=bias, dtype=torch.float32)
    exact = copy.deepcopy(layer).double()
    x = torch.randn(5, *shape)
    fed = 0.3 * torch.randn(*shape)

    def found(layer, x, run):
        dtype = x.dtype
        layer.zero_states()
        leaf, start = x.clone().requires_grad_(), fed.to(dtype).requires_grad_()
        y = run(layer, leaf, start)
        loss = (y * torch.linspace(-1, 1, y.numel()).to(dtype).view(y.shape)).sum()
        return [y, *torch.autograd.grad(loss, [leaf, start, *layer.parameters()])]

    def stepped(layer, x, fed):
        layer.fed = fed
        return torch.stack([layer(x_t) for x_t in x])

    references = [found(*one, reference) for one in nearby(layer, x)]
    assert_as_right(found(layer, x, stepped), references, found(exact, x.double(), reference))


@pytest.mark.parametrize("rate", [0.0, 0.02, 0.2, 0.6])
def test_skipped_zeros_do_not_show(rate):
    """With a bias far below threshold few neurons fire, and zeros are skipped; real-valued outputs, never."""
    layer = feedback(tt.compose(tt.Binary)(128, spike_fn=tt.functional.heavi_erfc(1.0), beta=0.5), dtype=torch.float32)
    x = 6 * (torch.rand(30, 16, 128) < rate) + 0.01 * torch.randn(30, 16, 128)
    with torch.no_grad():
        y = tt.scan(layer, x)
        layer.zero_states()
        want = reference_in_order(layer, x[:, :2])
    assert torch.equal(y[:, :2], want)
    assert want.mean() < 0.2 if rate < 0.1 else want.mean() > 0.3     # one way, and the other


def reference_in_order(layer, x):
    """The definition's sum, written out in numpy: from the bias, k ascending, one fused multiply-add after another."""
    weight, bias = layer.path.weight.double(), layer.path.bias
    layer.neuron.zero_states()
    fed, ys = torch.zeros_like(x[0]), []
    for x_t in x:
        drive = bias.expand_as(x_t).clone()
        for k in range(fed.shape[-1]):      # a product of two floats is exact in double, and so is the sum's rounding
            drive = (drive.double() + fed[..., k : k + 1].double() * weight[:, k]).float()
        with tt.backend("eager"):
            fed = layer.neuron(x_t + drive)
        ys.append(fed)
    return torch.stack(ys)


def test_spikes_are_those_of_pytorch_away_from_ties():
    layer, x = feedback(hard(256), dtype=torch.float32), 2 * torch.randn(50, 16, 256)
    with torch.no_grad():
        y = tt.scan(layer, x)
        layer.zero_states()
        want = reference(layer, x)
    assert (y != want).float().mean() < 1e-4        # the share of ties: a few in the 204,800 spikes


def changes():
    def optimizer(layer):
        torch.optim.SGD(layer.parameters(), 0.1).step()

    def data(layer):
        layer.path.weight.data[3, 5] += 1.0

    def numpy(layer):
        layer.path.weight.detach().numpy()[2, 1] += 1.0

    def load(layer):
        layer.load_state_dict({**layer.state_dict(), "path.weight": torch.randn(24, 24), "path.bias": torch.ones(24)})

    def replaced(layer):
        layer.path.weight = nn.Parameter(torch.randn(24, 24))

    def path(layer):
        layer.path = nn.Linear(24, 24, bias=False)

    return [optimizer, data, numpy, load, replaced, path]


@pytest.mark.parametrize("change", changes(), ids=lambda change: change.__name__)
@pytest.mark.parametrize("how", ["scan", "step"])
def test_packed_weights_are_never_stale(change, how):
    def run(layer):
        layer.zero_states()
        y = tt.scan(layer, x) if how == "scan" else torch.stack([layer(x_t) for x_t in x])
        return [y, *gradients(layer, y, x)]

    layer, x = feedback(tt.snn.LIB(24), dtype=torch.float32), torch.randn(6, 3, 24, requires_grad=True)
    before = run(layer)
    for parameter, gradient in zip(layer.parameters(), before[2:], strict=True):
        parameter.grad = gradient
    change(layer)
    fresh = tt.Feedback(copy.deepcopy(layer.neuron), copy.deepcopy(layer.path))
    found, want = run(layer), run(fresh)
    assert not torch.equal(found[0], before[0])
    assert all(torch.equal(a, b) for a, b in zip(found, want, strict=True))


def test_a_computed_weight_is_a_weight():
    class Mask(nn.Module):
        def forward(self, weight):
            return weight * self.kept

    layer, x = feedback(tt.snn.LIB(12)), torch.randn(7, 2, 12, dtype=torch.float64)
    Mask.kept = torch.eye(12, dtype=torch.float64)
    parametrize.register_parametrization(layer.path, "weight", Mask())
    y = tt.scan(layer, x, backend="cpp")
    layer.zero_states()
    assert_close(y, reference(layer, x))
    assert torch.equal(gradients(layer, y)[-1].triu(1), torch.zeros(12, 12, dtype=torch.float64))

    layer = feedback(tt.snn.LIB(12))
    prune.random_unstructured(layer.path, "weight", 0.5)
    with torch.no_grad():
        layer.path.weight_orig.mul_(2.0)
    y = tt.scan(layer, x, backend="cpp")
    layer.zero_states()
    layer.path(x[0])
    assert_close(y, reference(layer, x))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("where", ["weight", "x", "bias"])
def test_what_is_not_finite_spreads_as_in_pytorch(bad, where):
    layer, x = feedback(hard(24)), torch.randn(6, 3, 24, dtype=torch.float64)
    with torch.no_grad():
        (x[2] if where == "x" else getattr(layer.path, where))[1] = bad
        y = tt.scan(layer, x)
        mem = layer.neuron.mem
        layer.zero_states()
        want = reference(layer, x)
    assert torch.equal(y.isnan(), want.isnan())
    assert_close(y, want)
    assert torch.equal(mem.isnan(), layer.neuron.mem.isnan())
