"""What tt.plot.activity draws of a report."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn

import tracetorch as tt
import tracetorch.plot as ttplot
from tracetorch.plot.style import NEGATIVE, NEUTRAL, POSITIVE

matplotlib.use("Agg")


@pytest.fixture
def report():
    layer = tt.snn.LIB(6, threshold=0.4, quant_fn=tt.functional.round_ste())
    return tt.activity(nn.Sequential(nn.Linear(4, 6), layer, nn.Linear(6, 2), tt.snn.LI(2)), torch.rand(9, 5, 4))


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def test_rates_on_the_left(report):
    left, _ = ttplot.activity(report).flat
    layer = report.layers["1"]
    assert [t.get_text() for t in left.get_yticklabels()] == [f"1 LIB\n{layer.silent:.0%} silent"]
    (median,) = [a for a in left.lines if a.get_color() == NEGATIVE]
    assert median.get_xdata()[0] == pytest.approx(np.median(layer.rates)) and layer.rate > 0


def test_operations_on_the_right(report):
    _, right = ttplot.activity(report).flat
    assert [t.get_text() for t in right.get_yticklabels()] == ["0 Linear", "2 Linear"]
    widths = {colour: [bar.get_width() for bar in right.patches
                       if np.allclose(bar.get_facecolor()[:3], matplotlib.colors.to_rgb(colour))]
              for colour in (NEUTRAL, POSITIVE)}
    assert widths[NEUTRAL] == pytest.approx([24, 12])
    assert widths[POSITIVE] == pytest.approx([24, report.synapses["2"].operations / 45])
    assert 0 < widths[POSITIVE][1] < 12


def test_it_takes_axes_and_refuses_another_number(report):
    _, axes = plt.subplots(1, 2)
    assert list(ttplot.activity(report, axes).flat) == list(axes)
    with pytest.raises(ValueError, match="activity: got 3 axes, needs 1 rows of 2"):
        ttplot.activity(report, plt.subplots(1, 3)[1])


def test_a_report_of_neurons_only():
    left, right = ttplot.activity(tt.activity(tt.snn.LIB(3), torch.rand(5, 3))).flat
    assert len(left.get_yticks()) == 1 and not right.patches


def test_something_else_is_refused():
    with pytest.raises(TypeError, match=r"needs the report of tt\.activity\(model, x\), got Tensor"):
        ttplot.activity(torch.rand(3))
