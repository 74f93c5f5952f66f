"""A layer that hears itself is counted: its spikes, and the operations of its path, which hears zeros at first."""

import warnings

import pytest
import torch
from torch import nn

import tracetorch as tt

SPIKES = {"spike_fn": tt.functional.heavi_erfc(1.0)}


def test_rate_and_operations_of_the_path():
    layer = tt.Feedback(tt.snn.LIB(4, **SPIKES), nn.Linear(4, 4))
    x = 2 * torch.randn(9, 3, 4)
    with torch.no_grad():
        y = tt.scan(layer, x)
    layer.zero_states()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = tt.activity(layer, x)
    assert layer.fed is None
    assert report.layers[""].rate == pytest.approx(float(y.mean()))
    path = report.synapses["path"]
    assert path.operations == 4 * int(y[:-1].sum())     # each spike reaches four neurons, one step later
    assert "its path is counted step by step" in repr(report)


def test_calibrate_finds_it():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), tt.Feedback(tt.snn.LIB(16, **SPIKES), nn.Linear(16, 16)))
    x = torch.randn(20, 8, 4)
    tt.calibrate(model, x, rate=0.2)
    assert tt.activity(model, x).layers["1"].rate == pytest.approx(0.2, rel=0.1)
