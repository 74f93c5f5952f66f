"""Small examples worked out by hand: what each stage computes, step by step."""

import pytest
import torch

import tracetorch as tt
from tests.stages.own.depression import Depression
from tests.support.compositions import HARD, stepped
from tracetorch import snn


def fires(*stages, **values):
    """A class with hard spikes, and the arguments of one neuron of it; every decay is 1/2 unless told."""
    return tt.compose(*stages), {"spike_fn": HARD, **values}


EXAMPLES = {
    # class, arguments, input, output, final states
    "LI": ((snn.LI, {}), [1, 2, -1], [1, 2.5, 0.25], {"mem": 0.25}),
    "LIEMA": ((snn.LIEMA, {}), [1, 2, -1], [0.5, 1.25, 0.125], {"mem": 0.125}),
    "LIEMA slow": ((snn.LIEMA, {"beta": 0.75}), [4, 0], [1, 0.75], {"mem": 0.75}),
    "SLI": ((snn.SLI, {"beta": 0.25}), [2, 0, 4], [1, 0.75, 2.4375], {"syn": 2.25, "mem": 2.4375}),
    "DLI": ((snn.DLI, {"neg_beta": 0.25}), [1, -2, 4], [1, -1.5, 3.75], {"pos_mem": 4.25, "neg_mem": -0.5}),
    "DSLI": ((snn.DSLI, {"neg_alpha": 0.25}), [2, -2], [1, -0.5],
             # pos_syn 1, 0.5; neg_syn 0, -1.5; their sum -1 goes to the negative membrane
             {"pos_syn": 0.5, "neg_syn": -1.5, "pos_mem": 0.5, "neg_mem": -1}),
    "CLI": ((tt.compose(tt.Current), {"alpha": 0.25}), [2, 0, 4], [2, 1.5, 4.875], {"syn": 4.125, "mem": 4.875}),
    "DCLI": ((tt.compose(tt.Dual, tt.Current), {"neg_alpha": 0.25}), [2, -2], [2, 0],
             # pos_syn 2, 1; neg_syn 0, -2; their sum -1 goes to the negative membrane
             {"pos_syn": 1, "neg_syn": -2, "pos_mem": 1, "neg_mem": -1}),
    "LIB": (fires(tt.Binary), [0.8, 0.8, 0.8], [0, 1, 0], {"mem": 0.9}),
    "LIB bias": (fires(tt.Binary, bias=0.4), [0.8, 0.8, 0.8], [1, 1, 1], {"mem": -0.35}),
    "LIB threshold": (fires(tt.Binary, threshold=0.5), [0.8, 0.2], [1, 0], {"mem": 0.35}),
    "LIB no bias": (fires(tt.Binary(biased=False)), [0.8, 0.8, 0.8], [0, 1, 0], {"mem": 0.9}),
    "LIT": (fires(tt.Ternary, neg_threshold=2.0), [1.5, -3, -1.5], [1, -1, 0], {"mem": -1.875}),
    "LIT bias": (fires(tt.Ternary, bias=0.4), [0.8, -1.1, -0.9], [1, 0, -1], {"mem": -0.5}),
    "LITS": (fires(tt.Scaled, neg_threshold=2.0, pos_scale=3.0, neg_scale=0.5), [1.5, -3, -1.5], [3, -0.5, 0],
             {"mem": -1.875}),
    "LIBS": (fires(tt.Binary, tt.Scaled, scale=0.25), [1.5, 0.5], [0.25, 0], {"mem": 0.75}),
    "DLIB reset halves": (fires(tt.Dual, tt.Binary), [2], [1], {"pos_mem": 1.5, "neg_mem": -0.5}),
    "DLIT reset halves": (fires(tt.Dual, tt.Ternary, neg_threshold=2.0), [-3], [-1], {"pos_mem": 1, "neg_mem": -2}),
    # rec 0, 0.5, 0.75; drive 1.5, 1, 1.5
    "RLIB": (fires(tt.Recurrent, tt.Binary, rec_weight=2.0), [1.5, 0, 0], [1, 1, 1],
             {"rec": 0.75, "mem": 0.625, "prev_output": 1}),
    "RLI": ((tt.compose(tt.Recurrent), {"rec_weight": 2.0}), [1, 0], [1, 1.5],
            {"rec": 0.5, "mem": 1.5, "prev_output": 1.5}),
    "RLITS feeds back the scaled output": (
        fires(tt.Recurrent, tt.Scaled, rec_weight=1.0, pos_scale=0.5), [1.5, 0], [0.5, 0],
        {"rec": 0.25, "mem": 0.5, "prev_output": 0}),
    "Adaptive": (fires(tt.Binary, tt.Adaptive, kappa=1.0), [1.5, 1.5, 2], [1, 0, 1], {"mem": 1.375, "adapt": 1.25}),
    "Adaptive, ternary": (fires(tt.Ternary, tt.Adaptive, kappa=0.5), [-1.5, 0.9], [-1, 1],
                          # adapt -1 lowers the threshold to 0.5, which is what the reset takes: -0.25 + 0.9 - 0.5
                          {"mem": 0.15, "adapt": 0.5}),
    "Adaptive sees unscaled spikes": (fires(tt.Scaled, tt.Adaptive, pos_scale=3.0), [1.5], [3], {"adapt": 1}),
    "Refractory": (fires(tt.Binary, tt.Refractory(2)), [1.5, 1.5, 1.5, 1.5], [1, 0, 0, 1], {"mem": 1.6875, "rest": 2}),
    "Refractory, ternary": (fires(tt.Ternary, tt.Refractory(1)), [1.5, -3, -1], [1, 0, -1],
                            {"mem": -1.375, "rest": 1}),
    "RelativeRefractory": (fires(tt.Binary, tt.RelativeRefractory, rel_decay=0.5), [1.5, 1.5, 2], [1, 0, 1],
                           {"mem": 1.375, "rel": 1}),
    "RelativeRefractory, ternary": (fires(tt.Ternary, tt.RelativeRefractory, rel_decay=0.5), [-1.5, 2], [-1, 0],
                                    {"mem": 1.75, "rel": 0.5}),
    "reset zero": (fires(tt.Binary, tt.Reset("zero")), [1.5, 0.8], [1, 0], {"mem": 0.8}),
    "reset zero, dual": (fires(tt.Dual, tt.Ternary, tt.Reset("zero")), [-1.5], [-1], {"pos_mem": 0, "neg_mem": 0}),
    "reset zero with gradient": (fires(tt.Binary, tt.Reset("zero", detach=False)), [1.5, 0.8], [1, 0], {"mem": 0.8}),
    "reset zero with gradient, ternary": (
        fires(tt.Ternary, tt.Reset("zero", detach=False)), [-1.5, 0.8], [-1, 0], {"mem": 0.8}),
    # -0.2 after the spike, then -0.1 + 0.8
    "reset to a value": (fires(tt.Binary, tt.Reset(to=-0.2)), [1.5, 0.8], [1, 0], {"mem": 0.7}),
    "reset to a value of the layer": (
        fires(tt.Binary, tt.Reset(to=-0.2), reset_to=0.5), [1.5, 0.8], [1, 1], {"mem": 0.5}),
    "reset to a value with gradient": (
        fires(tt.Binary, tt.Reset(to=-0.2, detach=False)), [1.5, 0.8], [1, 0], {"mem": 0.7}),
    "reset to a value, ternary": (
        fires(tt.Ternary, tt.Reset(to=0.4, detach=False)), [-1.5, -0.8], [-1, 0], {"mem": -0.6}),
    "reset to a value, dual": (
        fires(tt.Dual, tt.Ternary, tt.Reset(to=-0.2)), [-1.5], [-1], {"pos_mem": -0.1, "neg_mem": -0.1}),
    "reset to a value with gradient, dual": (
        fires(tt.Dual, tt.Ternary, tt.Reset(to=-0.2, detach=False)), [-1.5], [-1], {"pos_mem": -0.1, "neg_mem": -0.1}),
    "several spikes a step": (
        fires(tt.Binary, spike_fn=tt.functional.multi_spike()), [3.5, -3, 2.5], [3, 0, 1], {"mem": 0.125}),
    "I": ((tt.compose(tt.Integrator), {}), [1, 2, -4], [1, 3, -1], {"mem": -1}),
    "DI": ((tt.compose(tt.Integrator, tt.Dual), {}), [1, -2, 4], [1, -1, 3], {"pos_mem": 5, "neg_mem": -2}),
    "IB": (fires(tt.Integrator, tt.Binary), [0.5, 0.75, 0.5], [0, 1, 0], {"mem": 0.75}),
    "reset none": (fires(tt.Binary, tt.Reset("none")), [1.5, 0.8], [1, 1], {"mem": 1.55}),
    "a state that starts at 1": (
        (tt.compose(Depression), {"recovery": 0.5, "use": 0.5}), [0, 2], [0, 2],
        {"resource": 1 - 0.5 * 0.9640275800758169, "mem": 2}),
}


def one_neuron(cls, values):
    halves = {name: 0.5 for name, p in cls.pipeline.parameters.items() if isinstance(p, tt.Decay)}
    layer = cls(1, **{**halves, **values}, dtype=torch.float64)
    return layer


@pytest.mark.parametrize("run", [stepped, tt.scan], ids=["stepped", "scanned"])
@pytest.mark.parametrize("example", EXAMPLES)
def test_example(example, run, backend):
    (cls, values), x, want, final = EXAMPLES[example]
    layer = one_neuron(cls, values)
    with tt.backend(backend):
        y = run(layer, torch.tensor(x, dtype=torch.float64)[:, None])
    assert y[:, 0].tolist() == pytest.approx(want, abs=1e-12)
    assert {name: getattr(layer, name).item() for name in final} == pytest.approx(final, abs=1e-12)


def test_dual_recurrent_splits_each_source_separately(backend):
    """pos_mem = pos_beta*pos_mem + pos_rec_weight*pos(rec) + pos(x), rec the sum of the pair; likewise neg_mem."""
    layer = one_neuron(snn.DRLIT, {"neg_gamma": 0.25, "neg_beta": 0.25, "pos_rec_weight": 3.0, "neg_rec_weight": 2.0})
    begin = {"pos_rec": 0.5, "neg_rec": -0.25, "prev_output": -1.0, "pos_mem": 1.0, "neg_mem": -1.0}
    begin = {name: torch.tensor([value], dtype=torch.float64) for name, value in begin.items()}
    layer.spike_fn = HARD
    with tt.backend(backend):
        y, after = layer.step(torch.ones(1, dtype=torch.float64), begin)
    # pos_rec 0.25 + 0, neg_rec -0.0625 - 0.75, their sum -0.5625 drives the negative membrane
    want = {"pos_rec": 0.25, "neg_rec": -0.8125, "pos_mem": 1.5, "neg_mem": -0.25 - 1.125, "prev_output": 0.0}
    assert y.item() == 0
    assert {name: value.item() for name, value in after.items()} == pytest.approx(want, abs=1e-12)


@pytest.mark.parametrize("value, gradient", [(0.0, 2.0), (1.0, 1.0), (-1.0, 1.0)])
def test_at_zero_both_halves_of_a_dual_pass_gradient(value, gradient, backend):
    x = torch.full((1, 1), value, dtype=torch.float64, requires_grad=True)
    with tt.backend(backend):
        tt.scan(one_neuron(snn.DLI, {}), x).sum().backward()
    assert x.grad.item() == gradient


@pytest.mark.parametrize("value, gradient", [(0.0, 4.0), (1.0, 1.0)])
def test_two_splits_at_zero(value, gradient, backend):
    """The synaptic pair takes the input twice, and the membranes take its sum twice."""
    x = torch.full((1, 1), value, dtype=torch.float64, requires_grad=True)
    layer = one_neuron(snn.DSLI, {})
    with tt.backend(backend):
        tt.scan(layer, x).sum().backward()
    assert x.grad.item() == gradient * 0.5


@pytest.mark.parametrize("detach, gradient", [(False, 0.0), (True, 1.0)])
def test_a_detached_reset_passes_no_gradient(detach, gradient, backend):
    """spike = x - 1 and mem = x - spike*1, so dmem/dx is 1 - 1, or 1 where the spike is detached."""
    layer = one_neuron(tt.compose(tt.Binary, tt.Reset(detach=detach)), {"spike_fn": torch.relu})
    x = torch.full((1, 1), 3.0, dtype=torch.float64, requires_grad=True)
    with tt.backend(backend):
        tt.scan(layer, x)
    assert layer.mem.item() == pytest.approx(1.0)
    layer.mem.sum().backward()
    assert x.grad.item() == pytest.approx(gradient, abs=1e-12)


def test_no_gradient_passes_through_a_reset_to_zero(backend):
    layer = one_neuron(tt.compose(tt.Binary, tt.Reset("zero")), {"spike_fn": torch.relu})
    x = torch.tensor([[3.0], [0.5]], dtype=torch.float64, requires_grad=True)
    with tt.backend(backend):
        tt.scan(layer, x)
    layer.mem.sum().backward()
    assert x.grad.flatten().tolist() == [0.0, 1.0]


# One step from mem 1 with beta 1/2 on an input of 1.5: potential 2, spike = relu(2 - 1) = 1, so mem is 0 or reset_to.
# d(potential)/dx = d(spike)/dx = 1 and d(mem)/dx = (1 - spike) - potential + reset_to = reset_to - 2 where gradient
# flows. d(mem)/d(reset_to) = spike = 1. Ternary fires down alike: potential -2, spike -1.
@pytest.mark.parametrize("kind", [tt.Binary, tt.Ternary])
@pytest.mark.parametrize("reset, along_x, along_value", [
    (tt.Reset("zero"), 0.0, None), (tt.Reset("zero", detach=False), 2.0, None),
    (tt.Reset(to=0.5), 0.0, 1.0), (tt.Reset(to=0.5, detach=False), 1.5, 1.0),
], ids=str)
def test_gradients_of_a_reset_that_starts_anew(reset, along_x, along_value, kind, backend):
    sign = 1.0 if kind is tt.Binary else -1.0
    cls = tt.compose(kind, tt.Reset(reset.mode, reset.detach, to=sign * reset.to if reset.mode == "value" else None))
    layer = one_neuron(cls, {"spike_fn": torch.relu})
    layer.mem = torch.full((1,), sign, dtype=torch.float64)
    x = torch.full((1, 1), 1.5 * sign, dtype=torch.float64, requires_grad=True)
    with tt.backend(backend):
        tt.scan(layer, x)
    layer.mem.sum().backward()
    assert layer.mem.item() == sign * getattr(reset, "to", 0.0)
    assert abs(x.grad.item()) == along_x and (x.grad.item() <= 0)
    if along_value is not None:
        assert layer.raw_reset_to.grad.item() == along_value


def test_fire_is_quant_of_spike(backend):
    """round(sigmoid(4*(mem - threshold))) fires above threshold; its gradient is the sigmoid's."""
    layer = one_neuron(snn.LIB, {"quant_fn": tt.functional.round_ste()})
    x = torch.tensor([[1.5], [0.0]], dtype=torch.float64, requires_grad=True)
    with tt.backend(backend):
        y = tt.scan(layer, x)
    assert y.flatten().tolist() == [1.0, 0.0]
    (gradient,) = torch.autograd.grad(y[0].sum(), x)
    s = torch.sigmoid(torch.tensor(2.0, dtype=torch.float64))
    assert gradient[0].item() == pytest.approx((4 * s * (1 - s)).item())


def test_parameters_are_stored_behind_their_constraint():
    layer = snn.LIB(2, beta=0.25, threshold=2.0, bias=-0.5, dtype=torch.float64)
    assert layer.raw_beta.tolist() == pytest.approx([-1.0986122886681098] * 2)          # log(1/3)
    assert layer.raw_threshold.tolist() == pytest.approx([1.8545865421312] * 2)         # log(exp(2) - 1)
    assert layer.raw_bias.tolist() == pytest.approx([-0.5210953054937474] * 2)          # sinh(-1/2)
    for name, value in {"beta": 0.25, "threshold": 2.0, "bias": -0.5}.items():
        assert getattr(layer, name).tolist() == pytest.approx([value] * 2)
