"""Scans inside torch.compile, and the operators that they become."""

import pytest
import torch
from torch import nn

import tracetorch as tt
from tests.support.compositions import Composition, inputs, outcome
from tracetorch import functional as F
from tracetorch.backends import differentiable

pytest.importorskip("triton", reason="Triton is an optional extra")
pytestmark = pytest.mark.triton


@pytest.fixture(autouse=True)
def _reset():
    tt.backends.load("triton")
    yield
    torch._dynamo.reset()


LAYERS = {
    "written": lambda: tt.snn.SRLITS(3, quant_fn=F.stochastic_round_ste(0.5)),
    "derived": lambda: tt.snn.LIF(3),
}


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")     # torch looks at states
@pytest.mark.parametrize("name", LAYERS)
def test_compiled_scans_at_changed_sizes(name):
    layer = LAYERS[name]()

    def scan(x):
        return tt.scan(layer, x, backend="triton")

    compiled = torch.compile(scan, fullgraph=True, backend="aot_eager")
    for T, B in ((9, 2), (10, 4), (3, 4)):
        x = inputs(T, B, 3, dtype=torch.float32)
        got, want = (outcome(layer, lambda v, s=s: torch.cat([s(v), s(0.5 * v)]), x, key=5) for s in (compiled, scan))
        torch.testing.assert_close(got, want)


class Slope(nn.Module):
    def __init__(self):
        super().__init__()
        self.k = 3.0

    def forward(self, v):
        return torch.tanh(self.k * v)


def test_compiled_scans_follow_an_annealed_slope():
    slope = Slope()
    layer = tt.snn.LIB(3, spike_fn=slope)
    x = inputs(6, 2, 3, dtype=torch.float32)

    def scan(x):
        return tt.scan(layer, x, backend="triton")

    compiled, found = torch.compile(scan, fullgraph=True, backend="eager"), []
    for slope.k in (3.0, 1.0, 0.5):
        layer.zero_states()
        want = scan(x)
        layer.zero_states()
        torch.testing.assert_close(compiled(x), want)
        found.append(want)
    assert not torch.equal(found[0], found[1]) and not torch.equal(found[1], found[2])


def entered(layer, dtype):
    step, params = layer.bound_step(), [p.detach().requires_grad_() for p in layer.constrained().values()]
    key, reason, _, order = differentiable.enter(
        step.pipeline, (0, False), step.spike_fn, step.quant_fn, step.name, "triton", dtype, dtype,
        tuple(p.ndim for p in params), ())
    assert reason is None
    return key, [params[i] for i in order]


@pytest.mark.parametrize("given", [True, False])
def test_operator_keeps_torchs_rules(given):
    layer = Composition(tt.compose(tt.Dual, tt.Binary)).build(spike_fn=F.sigmoid4x)
    key, params = entered(layer, torch.float64)
    x = inputs(9, 2, 3).requires_grad_()
    starts = [inputs(2, 3, seed=k).requires_grad_() for k in range(len(layer.pipeline.states))] if given else []
    torch.library.opcheck(torch.ops.tracetorch.scan, (x, starts, params, None, key, 1, True))


def test_operator_without_kept_states_is_not_differentiable():
    layer = tt.snn.LIB(3)
    key, params = entered(layer, torch.float32)
    x = inputs(4, 2, 3, dtype=torch.float32).requires_grad_()
    with pytest.raises(RuntimeError, match="keep=False, it keeps nothing to differentiate by"):
        torch.ops.tracetorch.scan(x, [], params, None, key, 1, False)
