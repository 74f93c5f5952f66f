"""Scans in Triton: hand-written and derived kernels against eager steps, in float64 and exactly."""

import pytest
import torch
from torch import nn

import tracetorch as tt
from tests.support.compositions import EXTREMES, Composition, assert_close, inputs, name_of, outcome, start
from tracetorch import functional as F

pytest.importorskip("triton", reason="Triton is an optional extra")
pytestmark = pytest.mark.triton

QUANTISERS = {
    "identity": nn.Identity(), "round": F.round_ste(0.25), "stochastic": F.stochastic_round_ste(0.5),
    "probabilistic": F.probabilistic_ste(),
}  # fmt: skip
WRITTEN = {
    "LI": (), "I-dual": (tt.Integrator, tt.Dual), "EMA-dual": (tt.EMA, tt.Dual), "I-binary": (tt.Integrator, tt.Binary),
    "synaptic-dual": (tt.Dual, tt.Synaptic), "current-dual": (tt.Dual, tt.Current),
    "binary": (tt.Binary,), "binary-none": (tt.Binary, tt.Reset("none")),
    "binary-scaled-dual": (tt.Dual, tt.Binary, tt.Scaled), "ternary-detached": (tt.Ternary, tt.Reset(detach=True)),
    "recurrent": (tt.Recurrent, tt.Ternary, tt.Scaled),
    "recurrent-ema": (tt.Recurrent, tt.EMA, tt.Binary),
    "everything": (tt.Dual, tt.Synaptic, tt.Recurrent, tt.Ternary, tt.Scaled),
    "everything-detached": (tt.Dual, tt.Synaptic, tt.Recurrent, tt.Ternary, tt.Reset(detach=True)),
}  # fmt: skip


def twice(layer, x, backend, **options):
    """The outcome of two scans, the second from the states of the first."""
    def both(x):
        with tt.backend(backend):
            return torch.cat([tt.scan(layer, x), tt.scan(layer, x[:3])])
    return outcome(layer, both, x, **{"warm": True, "key": 5} | options)


def build(name, **options):
    composition = Composition(tt.compose(*WRITTEN[name]))
    return composition.build(**{"spike_fn": F.sigmoid4x} | options if composition.fires else options)


def compare(layer, x, error=1e-10, **options):
    assert_close(twice(layer, x, "triton", **options), twice(layer, x, "eager", **options), error)


@pytest.mark.parametrize("quantiser", QUANTISERS)
@pytest.mark.parametrize("name", [name for name, stages in WRITTEN.items() if tt.compose(*stages).pipeline.fires])
def test_written_firing(name, quantiser):
    layer = build(name, quant_fn=QUANTISERS[quantiser])
    assert_written(layer)
    compare(layer, inputs(11, 2, 3))


@pytest.mark.parametrize("name", ["LI", "I-dual", "EMA-dual", "synaptic-dual", "current-dual"])
def test_written_integrators(name):
    layer = build(name)
    assert_written(layer)
    compare(layer, inputs(11, 2, 3))


def test_written_heaviside():
    layer = tt.snn.DLIT(3, spike_fn=F.surrogate(F.sigmoid4x), dtype=torch.float64)
    assert_written(layer)
    compare(layer, inputs(11, 2, 3))


def test_several_spikes_have_a_derived_kernel():
    layer = tt.snn.DLIT(3, spike_fn=F.surrogate(F.sigmoid4x, most=2), dtype=torch.float64)
    compare(layer, 3 * inputs(11, 2, 3))
    assert tt.scan(layer, 3 * inputs(11, 2, 3)).max() == 2


RESETS = [tt.Reset("zero"), tt.Reset("zero", detach=False), tt.Reset(to=-0.25), tt.Reset(to=-0.25, detach=False)]


@pytest.mark.parametrize("company", [(tt.Binary,), (tt.Dual, tt.Ternary)], ids=["binary", "dual ternary"])
@pytest.mark.parametrize("reset", RESETS, ids=str)
def test_written_resets_that_start_anew(reset, company):
    layer = Composition(tt.compose(*company, reset)).build(spike_fn=F.sigmoid4x, quant_fn=F.round_ste())
    assert_written(layer)
    compare(layer, inputs(11, 2, 3))


@pytest.mark.parametrize("reset", [tt.Reset("zero", detach=False), tt.Reset(to=-0.25, detach=False)], ids=str)
def test_written_resets_by_amounts(reset):
    layer = Composition(tt.compose(tt.Dual, tt.Ternary, reset)).build(spike_fn=F.sigmoid4x)
    assert_written(layer)
    compare(layer, inputs(11, 2, 3))


def assert_written(layer):
    from tracetorch.backends.triton.handwritten import handwritten

    assert handwritten(layer.bound_step()) is not None


@pytest.mark.parametrize("name", ["binary", "everything", "EMA-dual"])
def test_derived_kernels_compute_the_same(name, derived_only):
    compare(build(name), inputs(11, 2, 3))


@pytest.mark.parametrize("composition", EXTREMES, ids=name_of)
def test_every_stage(composition):
    compare(composition.build(), inputs(6, 2, 3))


@pytest.mark.parametrize("neuron", [tt.snn.LIF, tt.snn.PLIF, tt.snn.ALIF])
def test_learnable_slopes_and_detached_resets(neuron):
    compare(neuron(3).double(), inputs(9, 2, 3))


@pytest.mark.parametrize("T", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17])
@pytest.mark.parametrize("name", ["binary", "everything"])
def test_lengths_around_the_segment(name, T):
    layer = build(name)
    compare(layer, inputs(T, 2, 3), warm=False)


@pytest.mark.parametrize("T", [1, 2, 3, 7, 8, 9, 15, 16, 21])
def test_lengths_around_the_segment_with_few_states_saved(T, seldom_saved):
    compare(build("binary"), inputs(T, 2, 3), warm=False)


SHAPES = {
    "no batch": ((3,), -1), "one element": ((1,), 0), "many batch dims": ((2, 1, 2, 3), -1), "empty": ((0, 3), -1),
    "neurons first": ((3, 2), 0), "maps": ((2, 3, 2, 5), -3), "more than a block": ((2, 3, 50), 1),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name):
    shape, dim = SHAPES[name]
    layer = Composition(tt.compose(tt.Synaptic, tt.Binary)).build(shape[dim], dim=dim, threshold_rank=0)
    compare(layer, inputs(9, *shape))


@pytest.mark.parametrize("layout", ["time last", "steps apart", "one step for all", "steps not contiguous"])
def test_layouts(layout):
    x = {
        "time last": inputs(2, 3, 9).movedim(-1, 0), "steps apart": inputs(18, 2, 3)[::2],
        "one step for all": inputs(1, 2, 3).expand(9, 2, 3), "steps not contiguous": inputs(9, 3, 2).mT,
    }[layout]  # fmt: skip
    layer = Composition(tt.compose(tt.Binary)).build()
    got, want = (scanned(layer, x, name) for name in ("triton", "eager"))
    assert_close(got, want, 1e-12)


def scanned(layer, x, backend):
    layer.zero_states()
    leaf = x.detach().requires_grad_()
    y = tt.scan(layer, leaf, backend=backend)
    y.mT.square().sum().backward()      # the cotangent is not contiguous either
    return y, leaf.grad


@pytest.fixture
def soon_busy(monkeypatch):
    """The device is busy with 128 lanes in backward, 256 in forward."""
    from tracetorch.backends.triton import launch

    monkeypatch.setattr(launch, "processors", lambda device: 1)
    monkeypatch.setattr(launch, "LANES_PER_PROCESSOR", 128)
    return launch


@pytest.mark.parametrize("batch", [75, 100])
def test_rows_in_turn(batch, seldom_saved, soon_busy, device):
    from tracetorch.backends.program import Shape

    layer = Composition(tt.compose(tt.Ternary)).build(7)
    for busy in (128, 256):
        lanes = soon_busy.lanes_of(Shape(4, batch, 7, 1), device, busy)
        assert lanes < batch * 7 and (batch * 7 % lanes == 0) == (batch == 100)
    compare(layer, inputs(4, batch, 7), warm=False)


class Pole(nn.Module):
    """Infinite where a lane beyond the end, with no input and no state, stands against a threshold of 1."""

    def forward(self, v):
        return 1 / (v + 1)


def test_lanes_beyond_the_end_leave_no_trace(soon_busy):
    layer = tt.compose(tt.Binary(biased=False))(7, spike_fn=Pole(), threshold=1.0).double()
    layer.raw_threshold.data.fill_(torch.tensor(1.0, dtype=torch.float64).expm1().log())
    found = []
    for backend in ("triton", "eager"):
        layer.zero_states()
        y = tt.scan(layer, 2 + inputs(3, 75, 7).abs(), backend=backend)
        found.append(torch.autograd.grad(y.sum(), layer.parameters()))
    assert_close(*found, 1e-9)


def test_missing_and_partial_cotangents():
    layer = Composition(tt.compose(tt.Dual, tt.Synaptic, tt.Binary)).build()
    for of in ("y", "pos_syn", "neg_mem", "start"):
        found = []
        for backend in ("triton", "eager"):
            layer.zero_states()
            x = inputs(9, 2, 3).requires_grad_()
            if of == "start":       # one state is given, the others start anew
                layer.pos_mem = inputs(2, 3, seed=3).requires_grad_()
                leaf = layer.pos_mem
            else:
                leaf = x
            y = tt.scan(layer, x, backend=backend)
            loss = getattr(layer, of).sum() if of in layer.pipeline.states else y.sum()
            found.append(torch.autograd.grad(loss, leaf)[0])
        assert_close(*found, 1e-12)


def test_only_needed_gradients():
    layer = Composition(tt.compose(tt.Binary)).build(learn_beta=False, learn_threshold=False, learn_bias=False)
    x = inputs(5, 2, 3).requires_grad_()
    tt.scan(layer, x, backend="triton").sum().backward()
    assert torch.isfinite(x.grad).all() and not list(layer.parameters())
    with torch.no_grad():
        assert not tt.scan(layer, x, backend="triton").requires_grad


@pytest.mark.parametrize("names", [("mem",), ("mem", "potential", "spike")])
def test_records(names):
    layer, found = Composition(tt.compose(tt.Adaptive, tt.Binary)).build(), []
    for backend in ("triton", "eager"):
        layer.zero_states()
        x = inputs(9, 2, 3).requires_grad_()
        y, recordings = tt.scan(layer, x, backend=backend, record=names)
        loss = sum((k * t).sum() for k, t in enumerate(recordings.values(), 1))
        found.append([y, *recordings.values(), *torch.autograd.grad(loss, [x, *layer.parameters()], allow_unused=True)])
        assert list(recordings) == list(names)
    assert_close([f for f in found[0] if f is not None], [f for f in found[1] if f is not None], 1e-12)


HARD = {"round": {"quant_fn": F.round_ste()}, "norse": {"spike_fn": F.surrogates.HeaviTanh(2.0)},
        "drawn": {"spike_fn": F.surrogates.Logistic(2.0)}}  # fmt: skip


@pytest.mark.parametrize("name", HARD)
def test_hard_spikes_are_equal_in_float32(name):
    layer = Composition(tt.compose(tt.Dual, tt.Synaptic, tt.Ternary)).build(dtype=torch.float32, **HARD[name])
    layer.rng = torch.tensor([2**62 + 5, 2**31 - 2])        # both words of the seed count, and the position wraps
    key = layer.rng
    found = []
    for backend in ("triton", "eager"):
        layer.zero_states()
        layer.rng = key
        found.append(tt.scan(layer, inputs(20, 4, 3, dtype=torch.float32), backend=backend))
    assert torch.equal(*found)


@pytest.mark.parametrize("io", [torch.bfloat16, torch.float16])
def test_short_floats_are_rounded_once(io):
    layer = Composition(tt.compose(tt.Synaptic, tt.Binary)).build(dtype=io)
    x = inputs(9, 2, 3, dtype=io).requires_grad_()
    with tt.backend("triton"):
        y = tt.scan(layer, x)
    y.float().square().sum().backward()
    wide = Composition(tt.compose(tt.Synaptic, tt.Binary)).build(dtype=io).float()
    leaf = x.detach().float().requires_grad_()
    want = tt.scan(wide, leaf, backend="eager")
    (2 * want.detach().to(io).float() * want).sum().backward()
    assert y.dtype == x.grad.dtype == io and layer.mem.dtype == torch.float32
    error = torch.finfo(io).eps
    torch.testing.assert_close(y.float(), want, rtol=error, atol=1e-3 * error)
    torch.testing.assert_close(x.grad.float(), leaf.grad, rtol=2 * error, atol=4 * error)


def test_nan_and_infinity_propagate():
    layer = Composition(tt.compose(tt.Dual, tt.Synaptic)).build()
    x = inputs(9, 2, 3)
    x[2, 0, 1], x[4, 1, 2] = float("nan"), float("inf")
    found = []
    for backend in ("triton", "eager"):
        layer.zero_states()
        found.append(tt.scan(layer, x, backend=backend))
    torch.testing.assert_close(*found, equal_nan=True, rtol=0, atol=1e-12)


def test_inputs_are_left_alone():
    layer = Composition(tt.compose(tt.Dual, tt.Recurrent, tt.Ternary)).build()
    x = inputs(9, 2, 3)
    given = start(layer, (2, 3))
    before = [t.clone() for t in (x, *given.values())]
    with tt.backend("triton"):
        tt.scan(layer, x)
    assert all(torch.equal(a, b) for a, b in zip(before, (x, *given.values()), strict=True))
