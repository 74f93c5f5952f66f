"""Reports and calibration on a GPU: the numbers of the CPU."""

import copy

import pytest
import torch
from torch import nn

import tracetorch as tt

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


def test_a_gpu_counts_what_the_cpu_counts():
    spikes = tt.functional.round_ste()
    model = nn.Sequential(nn.Conv1d(2, 6, 3), tt.snn.LIB(6, dim=-2, threshold=0.2, quant_fn=spikes), nn.Flatten(),
                          nn.Linear(24, 8), tt.snn.LIT(8, quant_fn=spikes), nn.Linear(8, 2), tt.snn.LI(2)).double()
    x = torch.randn(9, 3, 2, 6, dtype=torch.float64)
    on_gpu, lengths = copy.deepcopy(model).cuda(), [9, 2, 5]
    tt.calibrate(model, x, rate=0.2, lengths=lengths)
    tt.calibrate(on_gpu, x.cuda(), rate=0.2, lengths=lengths)
    report, found = tt.activity(model, x, lengths=lengths), tt.activity(on_gpu, x.cuda(), lengths=lengths)
    for path, layer in report.layers.items():
        assert found.layers[path].rate == pytest.approx(layer.rate)
        assert found.layers[path].gradient == pytest.approx(layer.gradient)
        assert found.layers[path].membrane == pytest.approx(layer.membrane)
    assert [s.operations for s in found.synapses.values()] == [s.operations for s in report.synapses.values()]
