"""Every number of a report, against slow counts: plain loops over what the model sends when it is stepped in eager."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import tracetorch as tt

HARD = tt.functional.round_ste()
T, B = 7, 3


def dense():
    return nn.Sequential(nn.Linear(5, 8), tt.snn.LIB(8, beta=0.8, threshold=0.3, quant_fn=HARD), nn.Linear(8, 4),
                         tt.snn.LIB(4, threshold=0.2, bias=0.05, quant_fn=HARD), nn.Linear(4, 2), tt.snn.LI(2))


def convolutional():
    first = tt.snn.LIB(4, dim=-3, threshold=0.2, quant_fn=HARD)
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, stride=2), first, nn.Conv2d(4, 6, 2, groups=2, dilation=2),
                         tt.snn.LIB(6, dim=-3, threshold=0.1, quant_fn=HARD), nn.Flatten(), nn.Linear(6, 3),
                         tt.snn.LIB(3, threshold=0.1, quant_fn=HARD))


def recurrent():
    adaptive = tt.compose(tt.Adaptive, tt.Binary)(6, threshold=0.2, kappa=0.3, quant_fn=HARD)
    return nn.Sequential(nn.Linear(5, 8), tt.snn.SRLIB(8, threshold=0.2, rec_weight=0.7, quant_fn=HARD),
                         nn.Linear(8, 6), adaptive)


def ternary():
    return nn.Sequential(nn.Linear(5, 8), tt.snn.DSLIT(8, pos_threshold=0.1, neg_threshold=0.2, quant_fn=HARD),
                         nn.Linear(8, 6), tt.snn.LITS(6, pos_threshold=0.1, neg_threshold=0.1, pos_scale=0.5,
                                                     neg_scale=2.0, quant_fn=HARD), nn.Linear(6, 3))


def smooth():
    return nn.Sequential(nn.Linear(5, 8), tt.snn.LIB(8, threshold=0.3), nn.Linear(8, 4),
                         tt.snn.LIT(4, pos_threshold=0.2, neg_threshold=0.2), nn.Linear(4, 2))


INPUTS = {dense: (T, B, 5), convolutional: (T, B, 2, 6, 6), recurrent: (T, B, 5), ternary: (T, B, 5), smooth: (T, B, 5)}


@pytest.fixture(params=INPUTS, ids=lambda build: build.__name__)
def network(request):
    """A model, sparse input, what every module got and sent at each step, and the potentials, all in eager."""
    torch.manual_seed(3)
    model = request.param().double()
    x = torch.randn(INPUTS[request.param], dtype=torch.float64) * (torch.rand(INPUTS[request.param]) < 0.6)
    seen = {path: [] for path, _ in model.named_children()}
    with torch.no_grad(), tt.backend("eager"):
        for x_t in x:
            for path, module in model.named_children():
                y_t = module(x_t)
                seen[path].append((x_t, y_t))
                x_t = y_t
        tt.zero_states(model)
        potentials = tt.scan(model, x, record="potential")[1]
    tt.zero_states(model)
    return model, x, seen, {name.removesuffix(".potential"): v for name, v in potentials.items()}


def per_neuron(layer, ys):
    """The values of each neuron, one list each."""
    rows = torch.stack(ys).movedim(layer.dim, -1).reshape(-1, layer.num_neurons)
    return [rows[:, n].tolist() for n in range(layer.num_neurons)]


def test_rates_and_shares_of_neurons(network):
    model, x, seen, _ = network
    report = tt.activity(model, x)
    layers = {path: layer for path, layer in model.named_children() if isinstance(layer, tt.Layer)}
    assert list(report.layers) == list(layers)
    for path, layer in layers.items():
        found, values = report.layers[path], per_neuron(layer, [y for _, y in seen[path]])
        assert found.neurons == len(values)
        everything = [v for neuron in values for v in neuron]
        assert found.nonzero == pytest.approx(sum(v != 0 for v in everything) / len(everything), abs=1e-12)
        if isinstance(layer, tt.snn.LI):
            assert found.output == "membrane"
            assert {found.rate, found.rates, found.quantiles, found.silent, found.always, found.gradient} == {None}
            continue
        if found.output == "smooth":
            rates = [sum(map(abs, neuron)) / len(neuron) for neuron in values]
            fired = [[abs(v) > 0.5 for v in neuron] for neuron in values]
        else:
            rates = [sum(v != 0 for v in neuron) / len(neuron) for neuron in values]
            fired = [[v != 0 for v in neuron] for neuron in values]
            assert 0 < sum(rates) < len(rates), "the test needs layers that fire, and not always"
        assert found.rates.tolist() == pytest.approx(rates, abs=1e-12)
        assert found.rate == pytest.approx(sum(rates) / len(rates), abs=1e-12)
        assert found.silent == pytest.approx(sum(not any(f) for f in fired) / len(fired), abs=1e-12)
        assert found.always == pytest.approx(sum(all(f) for f in fired) / len(fired), abs=1e-12)
        ordered = sorted(rates)
        for share, quantile in zip((0.1, 0.5, 0.9), found.quantiles, strict=True):
            place = share * (len(ordered) - 1)
            low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
            assert quantile == pytest.approx(low + (place - math.floor(place)) * (high - low), abs=1e-12)


def test_membrane(network):
    model, x, _, potentials = network
    report = tt.activity(model, x)
    for path, potential in potentials.items():
        low, high = min(potential.flatten().tolist()), max(potential.flatten().tolist())
        assert report.layers[path].membrane == pytest.approx((low, high), rel=1e-6)


def test_gradient_of_the_sigmoid(network):
    """sigmoid4x has derivative sech(2 v)**2, a tenth of its peak at |v| = arccosh(sqrt(10)) / 2."""
    model, x, _, potentials = network
    report = tt.activity(model, x)
    reach = math.acosh(math.sqrt(10)) / 2
    for path, potential in potentials.items():
        layer = model[int(path)]
        if not layer.pipeline.fires:
            continue
        _, recordings = tt.scan(model, x, record=f"{path}.shift", backend="eager")
        tt.zero_states(model)
        shift, near = recordings[f"{path}.shift"].movedim(layer.dim, -1), []
        signs = {"pos_": 1, "neg_": -1} if hasattr(layer, "pos_threshold") else {"": 1}
        for p, s in zip(potential.movedim(layer.dim, -1).reshape(-1, layer.num_neurons),
                        shift.reshape(-1, layer.num_neurons), strict=True):
            for n in range(layer.num_neurons):
                distances = [sign * (p[n] + layer.bias[n]) - getattr(layer, f"{side}threshold")[n] - s[n]
                             for side, sign in signs.items()]
                near.append(any(abs(float(v.detach())) <= reach for v in distances))
        assert 0 < sum(near) < len(near) or path != "1"
        assert report.layers[path].gradient == pytest.approx(sum(near) / len(near), abs=1e-12)


def weights(module, x, y):
    """Every multiplication of a module in one step of one element, as (input, weight is there)."""
    if isinstance(module, nn.Linear):
        return [x[i].item() for _ in range(module.out_features) for i in range(module.in_features)]
    (height, width), step, hole, pad = module.kernel_size, module.stride[0], module.dilation[0], module.padding[0]
    inner, found = module.in_channels // module.groups, []
    for o, r, c in itertools.product(*map(range, y.shape)):
        first = o // (module.out_channels // module.groups) * inner
        for i, dr, dc in itertools.product(range(first, first + inner), range(height), range(width)):
            row, column = r * step - pad + dr * hole, c * step - pad + dc * hole
            inside = 0 <= row < x.shape[1] and 0 <= column < x.shape[2]
            found.append(x[i, row, column].item() if inside else None)
    return found


def test_operations(network):
    model, x, seen, _ = network
    report = tt.activity(model, x, accumulate_cost=0.25)
    modules = {p: m for p, m in model.named_children() if isinstance(m, (nn.Linear, nn.Conv2d))}
    assert list(report.synapses) == list(modules)
    for path, module in modules.items():
        found = report.synapses[path]
        steps = [weights(module, x_e, y_e) for x_t, y_t in seen[path] for x_e, y_e in zip(x_t, y_t, strict=True)]
        factors = [v for step in steps for v in step]
        inputs = [v for x_t, _ in seen[path] for v in x_t.flatten().tolist()]
        assert found.inputs == len(inputs)
        assert found.nonzero == pytest.approx(sum(v != 0 for v in inputs) / len(inputs), abs=1e-12)
        assert found.multiplications == len(factors)
        assert found.operations == sum(v is not None and v != 0 for v in factors)
        assert found.accumulates == sum(v is not None and abs(v) == 1 for v in factors)
        real = sum(v is not None for v in factors)
        ones = found.accumulates / found.operations if found.operations else 1.0
        assert found.break_even == pytest.approx(len(factors) / real / (0.25 * ones + 1 - ones))


@st.composite
def convolutions(draw):
    groups, kernel = draw(st.sampled_from((1, 2))), draw(st.tuples(*[st.integers(1, 3)] * 2))
    return nn.Conv2d(2 * groups, 2 * groups, kernel, stride=draw(st.integers(1, 3)), padding=draw(st.integers(0, 2)),
                     dilation=draw(st.integers(1, 2)), groups=groups)


@settings(max_examples=15, deadline=None)
@given(convolutions(), st.integers(5, 7), st.integers(5, 7), st.floats(0.1, 1.0))
def test_operations_of_any_convolution(module, height, width, density):
    x = (torch.rand(1, 2, module.in_channels, height, width) < density).float()
    with torch.no_grad():
        y = module(x[0])
    factors = [v for x_e, y_e in zip(x[0], y, strict=True) for v in weights(module, x_e, y_e)]
    found = tt.activity(module, x).synapses[""]
    assert found.multiplications == len(factors)
    assert found.operations == found.accumulates == sum(v == 1 for v in factors)
    inside = sum(v is not None for v in factors)
    assert found.break_even == pytest.approx(len(factors) / inside)


KINDS = {dense: ["binary", "binary", "membrane"], convolutional: ["binary", "binary", "binary"],
         recurrent: ["binary", "binary"], ternary: ["ternary", "scaled"], smooth: ["smooth", "smooth"]}


@pytest.mark.parametrize("build", KINDS, ids=lambda build: build.__name__)
def test_outputs_are_called_what_they_are(build):
    torch.manual_seed(3)
    report = tt.activity(build(), torch.randn(INPUTS[build]))
    assert [layer.output for layer in report.layers.values()] == KINDS[build]
    assert [f"{path} {type(m).__name__}" for path, m in build().named_children() if isinstance(m, tt.Layer)] == [
        layer.title for layer in report.layers.values()]


def test_accumulates_are_told_from_multiply_accumulates():
    """Ones need no multiplication, scaled and smooth spikes do."""
    torch.manual_seed(3)
    x = torch.randn(T, B, 5)
    binary, scaled, soft = (tt.activity(build(), x).synapses for build in (dense, ternary, smooth))
    assert 0 < binary["2"].accumulates == binary["2"].operations < binary["2"].multiplications
    assert scaled["2"].accumulates == scaled["2"].operations > 0
    assert scaled["4"].accumulates == 0 < scaled["4"].operations < scaled["4"].multiplications
    assert soft["2"].accumulates == 0 and soft["2"].operations == soft["2"].multiplications


def test_one_neuron_by_hand():
    """beta 0.5, threshold 1: x = 0.8 .8 0 2 0 -> potential 0.8 1.2 0.1 2.05 0.525: spikes at steps 1 and 3."""
    layer = tt.snn.LIB(1, beta=0.5, threshold=1.0, quant_fn=HARD)
    report = tt.activity(layer, torch.tensor([0.8, 0.8, 0.0, 2.0, 0.0])[:, None]).layers[""]
    assert report.rate == pytest.approx(0.4)
    assert report.membrane == pytest.approx((0.1, 2.05))
    assert report.silent == report.always == 0


@pytest.mark.parametrize(("fraction", "near"), [(0.05, 0.8), (0.2, 0.6), (0.7, 0.4), (1.0, 0.0)])
def test_gradient_counts_what_is_above_the_stated_fraction_of_the_peak(fraction, near):
    """The same neuron: 1 - |v| = 0.8 0.8 0.1 0 0.525, with a peak of 1."""
    layer = tt.snn.LIB(1, beta=0.5, threshold=1.0, quant_fn=HARD, spike_fn=tt.functional.triangle(1.0))
    x = torch.tensor([0.8, 0.8, 0.0, 2.0, 0.0])[:, None]
    assert tt.activity(layer, x, gradient_fraction=fraction).layers[""].gradient == pytest.approx(near)


def test_gradient_sees_a_threshold_that_has_been_raised():
    """0.2 above the threshold at first; the spike raises it by 10, and then the membrane is far below."""
    layer = tt.compose(tt.Adaptive, tt.Binary)(1, beta=1e-6, threshold=1.0, kappa=10.0, quant_fn=HARD)
    found = tt.activity(layer, torch.full((2, 1), 1.2)).layers[""]
    assert found.rate == found.gradient == 0.5


def test_spikes_of_several_sizes_are_graded():
    layer = tt.snn.LIB(8, threshold=0.5, quant_fn=tt.functional.round_ste(0.25))
    x = torch.rand(9, 8)
    with torch.no_grad():
        spikes = tt.scan(layer, x, backend="eager")
    found = tt.activity(layer, x).layers[""]
    assert found.output == "graded" and 0 < found.rate == float((spikes != 0).double().mean()) == found.nonzero


def test_break_even_follows_the_cost_of_an_accumulate():
    model, x = nn.Sequential(tt.snn.LIB(4, threshold=0.2, quant_fn=HARD), nn.Linear(4, 3)), torch.rand(5, 2, 4)
    for cost in (0.2, 1.0, 4.0):
        assert tt.activity(model, x, accumulate_cost=cost).synapses["1"].break_even == pytest.approx(1 / cost)
