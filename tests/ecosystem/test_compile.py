"""torch.compile(fullgraph=True) around models with layers, stepped and scanned, and changed sizes."""

import pytest
import torch
from torch import nn

import tracetorch as tt
from tests.support.rounding import check_rounds_as_eager, output
from tracetorch.backends import plan

MODELS = {
    "neurons": lambda: nn.Sequential(
        nn.Linear(4, 6), tt.snn.SLIB(6, beta=torch.linspace(0.5, 0.95, 6)), nn.Linear(6, 3), tt.snn.LI(3)),
    "Feedback": lambda: nn.Sequential(nn.Linear(4, 6), tt.Feedback(tt.snn.SLIB(6), nn.Linear(6, 6)), nn.Linear(6, 3)),
}


@pytest.fixture(params=MODELS)
def model(request):
    yield MODELS[request.param]()
    torch._dynamo.reset()


def test_compiled_scan_at_changed_sizes(model):
    compiled = torch.compile(lambda x: tt.scan(model, x), fullgraph=True, dynamic=True)
    for shape in ((5, 2, 4), (5, 3, 4), (8, 3, 4)):
        check_rounds_as_eager(model, compiled, torch.randn(shape))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")     # torch looks at states
def test_compiled_step_carries_states(model):
    step = torch.compile(model, fullgraph=True)
    check_rounds_as_eager(model, lambda x: torch.stack([step(x_t) for x_t in x]), torch.randn(4, 2, 4))


def test_compiled_scan_sees_weights_written_in_place(model):
    compiled, x = torch.compile(lambda x: tt.scan(model, x), fullgraph=True), torch.randn(5, 2, 4)
    before = output(model, compiled, x)
    for parameter in model.parameters():
        parameter.data.mul_(1.5)
    check_rounds_as_eager(model, compiled, x, output)
    assert not torch.allclose(*before, *output(model, compiled, x))


def test_compiled_scan_of_a_padded_batch(model):
    compiled = torch.compile(lambda x: tt.scan(model, x, lengths=[5, 2]), fullgraph=True)
    check_rounds_as_eager(model, compiled, torch.randn(5, 2, 4), lengths=[5, 2])


class Slope:
    """A spike function whose slope is annealed between calls."""

    def __init__(self, k):
        self.k = k

    def __call__(self, v):
        return torch.sigmoid(self.k * v)


def test_compiled_scan_follows_a_changed_attribute():
    layer = tt.snn.LIB(3, spike_fn=Slope(4.0))

    def run(x):
        layer.zero_states()
        return tt.scan(layer, x)

    compiled, x = torch.compile(run, fullgraph=True), torch.randn(5, 2, 3)
    steep = compiled(x)
    layer.spike_fn.k = 1.0
    flat = compiled(x)
    torch.testing.assert_close(flat, run(x))
    assert not torch.allclose(flat, steep)
    torch._dynamo.reset()


def test_an_old_pytorch_refuses_a_whole_graph(monkeypatch):
    """That it takes a broken one is seen by tools/smoke.py, on such a version."""
    monkeypatch.setattr(plan, "TRACES", False)
    layer = tt.snn.LIB(3)
    with pytest.raises(RuntimeError, match=r"needs PyTorch 2\.12 or newer"):
        torch.compile(lambda x: tt.scan(layer, x), fullgraph=True)(torch.randn(5, 2, 3))
    torch._dynamo.reset()
