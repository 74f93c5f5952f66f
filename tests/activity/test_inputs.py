"""What tt.activity takes: padding, dimensions, long input; and what it refuses."""

import copy
import json

import pytest
import torch
from torch import nn

import tracetorch as tt
from tracetorch.activity import measure

HARD = tt.functional.round_ste()


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 8), tt.snn.LIB(8, threshold=0.2, quant_fn=HARD), nn.Dropout(0.5), nn.Linear(8, 4),
                         tt.snn.LIT(4, pos_threshold=0.2, neg_threshold=0.2, quant_fn=HARD), nn.Linear(4, 2),
                         tt.snn.LI(2)).eval()


def same(one, other):
    """Compare two reports but for the last bits of the membrane."""
    a, b = json.loads(json.dumps(one.to_dict())), json.loads(json.dumps(other.to_dict()))
    for path, layer in a["layers"].items():
        assert layer.pop("membrane") == pytest.approx(b["layers"][path].pop("membrane"), rel=1e-5)
    assert a == b


def test_nothing_of_the_model_changes():
    model, x = network().train(), torch.rand(6, 3, 5)
    model.insert(1, nn.BatchNorm1d(8))
    tt.scan(model, x).sum().backward()
    states, values, generator = tt.save_states(model), copy.deepcopy(model.state_dict()), torch.get_rng_state()
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    tt.activity(model, 3 * x)
    assert torch.equal(generator, torch.get_rng_state())
    assert all(torch.equal(v, values[name]) for name, v in model.state_dict().items())
    assert all(torch.equal(v, states[name]) for name, v in tt.save_states(model).items())
    assert all(torch.equal(p.grad, g) for p, g in zip((p for p in model.parameters() if p.grad is not None), gradients,
                                                      strict=True))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert model.training and model[2].mem.requires_grad


def test_it_starts_from_fresh_states():
    model, x = network(), torch.rand(6, 3, 5)
    first = tt.activity(model, x)
    tt.scan(model, 5 * x)
    same(first, tt.activity(model, x))


def test_padding_is_not_counted():
    """A padded batch gives the sum of its elements, each at its own length."""
    model, x, lengths = network(), torch.randn(9, 3, 5), [4, 9, 0]
    padded = x.clone()
    for b, n in enumerate(lengths):
        padded[n:, b] = float("nan")
    report = tt.activity(model, padded, lengths=lengths)
    alone = [tt.activity(model, x[:n, b:b + 1]) for b, n in enumerate(lengths) if n]
    assert report.elements == 13 and report.steps == 9 and report.batch == 3
    for path, module in report.synapses.items():
        for name in ("inputs", "multiplications", "operations", "accumulates"):
            assert getattr(module, name) == sum(getattr(one.synapses[path], name) for one in alone)
        assert module.break_even == pytest.approx(1.0)
    for path, layer in report.layers.items():
        lows, highs = zip(*(one.layers[path].membrane for one in alone), strict=True)
        assert layer.membrane == pytest.approx((min(lows), max(highs)), rel=1e-5)
        if layer.rates is not None:
            fired = sum(one.layers[path].rates * one.elements for one in alone)
            torch.testing.assert_close(layer.rates, fired / 13)
            assert layer.gradient == pytest.approx(sum(one.layers[path].gradient * one.elements for one in alone) / 13)


def test_neurons_that_fire_at_every_step_of_their_own_length():
    layer = tt.snn.LIB(2, threshold=torch.tensor([0.5, 100.0]), quant_fn=HARD)
    found = tt.activity(layer, torch.ones(6, 3, 2), lengths=[1, 6, 3]).layers[""]
    assert found.always == found.silent == 0.5
    assert found.membrane[0] == 1.0, "what padding holds, a membrane of zero, is no part of the range"
    assert found.rates.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("dim", [1, -2])
def test_time_may_lie_elsewhere(dim):
    model, x = network(), torch.randn(6, 3, 5)
    same(tt.activity(model, x, lengths=[3, 6, 2]),
         tt.activity(model, x.movedim(0, dim), time_dim=dim, lengths=[3, 6, 2]))


def test_long_input_is_scanned_in_chunks_with_the_same_result(monkeypatch):
    model, x = network(), torch.randn(23, 3, 5)
    whole = tt.activity(model, x, lengths=[23, 11, 2])
    lengths_of_scans = []

    def noting(module, x, **options):
        if options.get("check") is False:       # else the look at whether the model may be folded
            lengths_of_scans.append(len(x))
        return tt.scan(module, x, **options)

    monkeypatch.setattr(measure, "scan", noting)
    monkeypatch.setattr(measure, "BUDGET", 4 * 3 * (4 * 8 + 4 * 4 + 2 * 2))      # four steps of what is recorded
    same(whole, tt.activity(model, x, lengths=[23, 11, 2]))
    assert lengths_of_scans == [1, 4, 4, 4, 4, 4, 2]


def test_batch_norm_in_training_sees_all_of_time_at_once(monkeypatch):
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), tt.snn.LIB(8, threshold=0.3, quant_fn=HARD))
    x = torch.randn(9, 3, 5)
    with torch.no_grad():
        spikes = tt.scan(copy.deepcopy(model), x)
    monkeypatch.setattr(measure, "BUDGET", 1)
    torch.testing.assert_close(tt.activity(model, x).layers["2"].rates, spikes.double().mean((0, 1)))


def test_a_layer_alone_with_and_without_a_batch():
    layer, x = tt.snn.LIB(4, threshold=0.5, quant_fn=HARD), torch.rand(9, 4)
    one, batched = tt.activity(layer, x), tt.activity(layer, x[:, None])
    same(one, batched)
    assert one.batch == 1 and one.elements == 9
    assert repr(one).splitlines()[2].startswith("layer ")


def test_neurons_are_those_along_their_dimension():
    layer = tt.snn.LIB(3, dim=-2, quant_fn=HARD, threshold=torch.tensor([0.5, 1e3, 0.5]))
    found = tt.activity(layer, torch.ones(4, 2, 3, 5)).layers[""]
    assert found.neurons == 3 and found.silent == pytest.approx(1 / 3)
    assert found.rates[1] == 0 and found.rates[0] == found.rates[2] == 1


def test_a_slope_per_neuron_has_a_peak_per_neuron():
    """Arctan: 1 / (1 + (pi a v)**2) is a tenth at |v| = 3 / (pi a), whatever the height of the peak."""
    slopes = torch.tensor([1.0, 10.0])
    layer = tt.snn.LIB(2, beta=1e-6, threshold=1.0, spike_fn=tt.functional.Arctan(slopes))
    distance = torch.tensor([0.9, 1.0]) / (torch.pi * slopes) * 3
    for v, near in ((distance[0], 0.5), (distance[1] * 0.99, 1.0), (distance[0] * 1.2, 0.0)):
        x = (1.0 - torch.stack([v, v]))[None] if near != 1.0 else (1.0 - distance * 0.99)[None]
        assert tt.activity(layer, x).layers[""].gradient == pytest.approx(near)


def test_a_spike_function_without_a_derivative_lets_nothing_through():
    layer = tt.snn.LIB(2, spike_fn=lambda v: (v > 0).to(v.dtype))
    report = tt.activity(layer, torch.rand(5, 2))
    assert report.layers[""].gradient == 0.0
    assert any(text.startswith("Little gradient gets through: LIB (at 0% of steps)") for text in report.attention)


def test_a_firing_stage_that_reads_more_than_the_potential():
    class Impatient(tt.Stage):
        place = "fire"
        threshold = tt.Positive(1.0, order=40)
        waited = tt.State()

        def step(self, s):
            s.waited = s.waited + 1.0
            s.spike = s.output = s.fire(s.potential + s.waited - s.threshold)

    report = tt.activity(tt.compose(Impatient, tt.Reset("none"))(2, quant_fn=HARD), torch.rand(5, 2))
    assert report.layers[""].gradient is None and report.layers[""].rate > 0
    assert "gradient is not known: its firing stage reads more than the potential (`s.waited`" in report.notes[0]


def test_inference_mode_changes_nothing():
    model, x = network(), torch.randn(6, 3, 5)
    with torch.inference_mode():
        inside = tt.activity(model, x.clone())
    same(tt.activity(model, x), inside)
    assert inside.layers["1"].gradient > 0


@pytest.mark.filterwarnings("ignore")
def test_a_compiled_model_is_looked_at_as_it_was_written():
    model, x = network(), torch.randn(6, 3, 5)
    same(tt.activity(model, x), tt.activity(torch.compile(model), x))


def test_nan_is_reported():
    x = torch.rand(4, 2, 3)
    x[1, 0, 2] = float("nan")
    report = tt.activity(tt.snn.LIB(3, spike_fn=tt.functional.heavi_erfc(1.0)), x)
    low, high = report.layers[""].membrane
    assert low != low and high != high
    assert report.attention[0] == "NaN in the membrane: LIB. Look for NaN or infinity in the input and in the weights."


def test_whole_numbers_are_treated_as_in_a_scan():
    with pytest.raises(TypeError, match=r"the input must be floating-point, got torch.int64; write x.float\(\)"):
        tt.activity(tt.snn.LIB(3), torch.ones(4, 3, dtype=torch.int64))
    model = nn.Sequential(nn.Embedding(5, 3), tt.snn.LIB(3))
    assert tt.activity(model, torch.tensor([[0, 1], [4, 2]])).layers["1"].neurons == 3


def test_a_module_that_may_not_be_folded_is_refused_as_in_a_scan():
    with pytest.raises(ValueError, match=r"folding differs from stepping.*use fold=False"):
        tt.activity(Reversing(), torch.rand(5, 3, 4))
    assert tt.activity(Reversing(), torch.rand(5, 3, 4), fold=False).layers["inner"].neurons == 4


class Reversing(nn.Module):
    """Mixes its batch."""

    def __init__(self):
        super().__init__()
        self.inner = tt.snn.LIB(4)

    def forward(self, x):
        return self.inner(x.flip(0))


@pytest.mark.parametrize(("call", "error", "text"), [
    (lambda: tt.activity("model", torch.rand(3, 2)), TypeError, "expected a torch.nn.Module, got str"),
    (lambda: tt.activity(network(), (torch.rand(3, 2), 1)), TypeError, "one tensor, as in tt.scan, got tuple; for a "
                                                                      "model with several inputs join them"),
    (lambda: tt.activity(network(), torch.rand(3, 2, 5), time_dim=3), ValueError,
     r"time_dim=3 is out of range for x of shape \[3, 2, 5\]"),
    (lambda: tt.activity(network(), torch.rand(0, 2, 5)), ValueError, r"x is empty \(shape \[0, 2, 5\]\)"),
    (lambda: tt.activity(network(), torch.rand(3, 0, 5)), ValueError, r"x is empty \(shape \[3, 0, 5\]\)"),
    (lambda: tt.activity(network(), torch.rand(3, 2, 5), accumulate_cost=0), ValueError,
     "accumulate_cost must be greater than 0, got 0"),
    (lambda: tt.activity(network(), torch.rand(3, 2, 5), gradient_fraction=1.5), ValueError,
     r"gradient_fraction must lie in \(0, 1\], got 1.5"),
    (lambda: tt.activity(network(), torch.rand(3, 2, 5), lengths=[4, 1]), ValueError,
     "lengths must lie between 0 and T=3"),
    (lambda: tt.activity(network(), torch.rand(3, 2, 5), lengths=[0, 0]), ValueError,
     "lengths are all 0: there is nothing to count"),
    (lambda: tt.activity(nn.Sequential(nn.Flatten(0), nn.Linear(10, 2)), torch.rand(3, 2, 5), lengths=[3, 1],
                         fold=False), ValueError,
     r"with lengths the first size of what 1 \(Linear\) gets must be that of the batch"),
])
def test_refusals(call, error, text):
    with pytest.raises(error, match=text):
        call()
