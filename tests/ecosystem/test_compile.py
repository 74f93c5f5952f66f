"""torch.compile(fullgraph=True) around models with layers, stepped and scanned, and changed sizes."""

import pytest
import torch
from torch import nn

import tracetorch as tt
from tests.support.compositions import outcome
from tracetorch.backends import plan


@pytest.fixture
def model():
    layer = tt.snn.SLIB(6, beta=torch.linspace(0.5, 0.95, 6))
    model = nn.Sequential(nn.Linear(4, 6), layer, nn.Linear(6, 3), tt.snn.LI(3))
    yield model
    torch._dynamo.reset()


def test_compiled_scan_at_changed_sizes(model):
    compiled = torch.compile(lambda x: tt.scan(model, x), fullgraph=True, dynamic=True)
    for shape in ((5, 2, 4), (5, 3, 4), (8, 3, 4)):
        x = torch.randn(shape)
        want = outcome(model, lambda v: tt.scan(model, v, backend="eager"), x)
        torch.testing.assert_close(outcome(model, compiled, x), want, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")     # torch looks at states
def test_compiled_step_carries_states(model):
    x = torch.randn(4, 2, 4)
    want = torch.stack([model(x_t) for x_t in x])
    tt.zero_states(model)
    step = torch.compile(model, fullgraph=True)
    torch.testing.assert_close(torch.stack([step(x_t) for x_t in x]), want, rtol=1e-4, atol=1e-5)


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
    with pytest.raises(RuntimeError, match=r"needs PyTorch 2\.13 or newer"):
        torch.compile(lambda x: tt.scan(layer, x), fullgraph=True)(torch.randn(5, 2, 3))
    torch._dynamo.reset()
