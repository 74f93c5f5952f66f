"""What raster, traces and rates draw: positions, colours, levels, numbers."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from torch import nn

import tracetorch as tt
import tracetorch.plot as ttplot
from tracetorch.plot.style import NEGATIVE, POSITIVE

matplotlib.use("Agg")
HARD = tt.functional.round_ste()


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


def marks(ax, label):
    """(time, neuron, opacity) of every mark of one sign."""
    (lines,) = [c for c in ax.collections if c.get_label() == label]
    return [
        (int(a[0]), round(float(a[1] + b[1]) / 2), round(float(colour[3]), 3))
        for (a, b), colour in zip(lines.get_segments(), lines.get_colors(), strict=True)
    ]


def line(ax, label):
    (found,) = [a for a in ax.lines if a.get_label() == label]
    return found


def test_curves_that_agree_can_be_told_apart():
    """Each is thinner than what it covers, and a legend says which number is a neuron's."""
    same = torch.rand(5, 1).repeat(1, 3)
    ax = ttplot.traces({"mem": same, "syn": same}, neurons=(0, 2))
    lines = [line for line in ax.lines if not line.get_label().startswith("_")]
    widths = [line.get_linewidth() for line in lines]
    assert widths == sorted(set(widths), reverse=True) and widths[-1] >= 1.2
    assert [line.get_label() for line in lines] == [
        "mem, neuron 0", "syn, neuron 0", "mem, neuron 2", "syn, neuron 2"]


def test_raster_marks_each_spike_with_its_sign_and_size(ax):
    spikes = torch.zeros(4, 3, requires_grad=True) + torch.tensor([[1.0, 0, 0], [0, -2, 0], [0, 0, 0], [0, 0, 2]])
    assert ttplot.raster(spikes, ax) is ax
    assert marks(ax, "positive") == [(0, 0, 0.5), (3, 2, 1.0)]
    assert marks(ax, "negative") == [(1, 1, 1.0)]
    colours = {c.get_label(): to_rgb(c.get_colors()[0][:3]) for c in ax.collections}
    assert colours == {"positive": to_rgb(POSITIVE), "negative": to_rgb(NEGATIVE)}
    assert ax.get_xlim() == (-0.5, 3.5)
    assert ax.get_ylim() == (-0.5, 2.5)


def test_raster_has_a_legend_only_where_signs_differ(ax):
    assert ttplot.raster(torch.eye(3), ax).get_legend() is None
    assert ttplot.raster(-torch.eye(3), ax).get_legend() is not None


def test_raster_of_a_silent_neuron(ax):
    ttplot.raster(torch.zeros(5), ax)
    assert not any(c.get_segments() for c in ax.collections)
    assert ax.get_ylim() == (-0.5, 0.5)


@pytest.mark.parametrize("draw", [ttplot.raster, ttplot.traces])
def test_a_batch_is_refused(draw):
    with pytest.raises(ValueError, match=r"got shape \[5, 2, 3\], allowed is \[T, N\].*values\[:, 0\]"):
        draw(torch.zeros(5, 2, 3))


def test_traces_draws_chosen_neurons_states_and_spikes(ax):
    mem, syn = torch.randn(6, 4), torch.randn(6, 4)
    spikes = torch.zeros(6, 4)
    spikes[2, 1], spikes[4, 1] = 1.0, -1.0
    assert ttplot.traces({"mem": mem, "syn": syn}, ax, neurons=[1, 3], spikes=spikes) is ax
    np.testing.assert_allclose(line(ax, "mem, neuron 1").get_ydata(), mem[:, 1])
    np.testing.assert_allclose(line(ax, "syn, neuron 3").get_ydata(), syn[:, 3])
    one, other, third = (line(ax, f"{name}, neuron {n}") for name, n in (("mem", 1), ("syn", 1), ("mem", 3)))
    assert one.get_color() == other.get_color() != third.get_color()
    assert one.get_linestyle() != other.get_linestyle()
    ticks = [t for t in ax.lines if t.get_marker() == "|" and len(t.get_xdata())]
    assert [(list(t.get_xdata()), t.get_ydata()[0] > 0.5) for t in ticks] == [([2], True), ([4], False)]


def levels(ax):
    return sorted(float(a.get_ydata()[-1]) for a in ax.lines if a.is_dashed() and a.get_linewidth() < 1)


def test_traces_draws_the_level_of_each_side(ax):
    layer = tt.snn.LIT(2, pos_threshold=torch.tensor([1.0, 2.0]), neg_threshold=3.0, neg_threshold_rank=0, bias=0.5)
    ttplot.traces(torch.zeros(4, 2), ax, neurons=[1], layer=layer)
    assert levels(ax) == pytest.approx([-3.5, 1.5])


def test_traces_moves_the_level_with_the_shift(ax):
    shift = torch.linspace(0, 1, 5)[:, None]
    ttplot.traces({"mem": torch.zeros(5, 1), "shift": shift}, ax, layer=tt.snn.LIB(1, threshold=1.5))
    np.testing.assert_allclose(line(ax, "threshold").get_ydata(), 1.5 + shift[:, 0], rtol=1e-6)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["mem", "threshold"]


def test_traces_refuses_a_neuron_that_is_not_there(ax):
    with pytest.raises(ValueError, match=r"got neurons \[2\], allowed are 0 to 1"):
        ttplot.traces(torch.zeros(5, 2), ax, neurons=[2])


def network():
    return nn.Sequential(nn.Linear(4, 6), tt.snn.LIB(6, quant_fn=HARD), nn.Linear(6, 2), tt.snn.LI(2))


def test_rates_summarises_each_firing_layer(ax):
    model, x = network(), 3 * torch.rand(9, 5, 4)
    with torch.no_grad():
        spikes = tt.scan(model[:2], x)
    tt.zero_states(model)
    assert ttplot.rates(model, x, ax) is ax
    rate = spikes.mean((0, 1)).numpy()
    assert rate.max() > 0
    (label,) = [t.get_text() for t in ax.get_yticklabels()]
    assert label == f"1 LIB\n6 neurons, {(rate == 0).mean():.0%} silent"
    (median,) = [a for a in ax.lines if a.get_color() == NEGATIVE]
    assert median.get_xdata()[0] == pytest.approx(np.median(rate))


def test_rates_leaves_the_model_as_it_was(ax):
    model, x = network(), torch.rand(9, 5, 4)
    tt.scan(model, x)
    before = tt.save_states(model)
    ttplot.rates(model, x, ax)
    after = tt.save_states(model)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not model[1]._forward_hooks


def test_rates_starts_from_fresh_states(ax):
    layer = tt.snn.LIB(1, quant_fn=HARD, threshold=0.6)
    layer.mem = torch.full((1,), 100.0)
    ttplot.rates(layer, torch.zeros(4, 1), ax)
    assert ax.get_yticklabels()[0].get_text() == "LIB\n1 neurons, 100% silent"


def test_rates_counts_neurons_along_their_dimension(ax):
    layer = tt.snn.LIB(3, dim=-2, quant_fn=HARD, threshold=torch.tensor([0.5, 1e3, 0.5]))
    ttplot.rates(layer, torch.ones(4, 2, 3, 5), ax)
    assert ax.get_yticklabels()[0].get_text() == "LIB\n3 neurons, 33% silent"


def test_rates_needs_a_layer_that_fires(ax):
    with pytest.raises(ValueError, match=r"no layer that fires; add one such as tt\.snn\.LIB"):
        ttplot.rates(tt.snn.LI(2), torch.zeros(3, 2), ax)
