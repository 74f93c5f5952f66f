"""Spike functions and quantisers of every make, fused, against the reference step in float64."""

import functools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tracetorch as tt
from tests.support.callables import Slope, scanned
from tests.support.compositions import assert_close
from tracetorch import functional


class Arc(torch.autograd.Function):
    @staticmethod
    def forward(ctx, v, alpha):
        ctx.save_for_backward(v)
        ctx.alpha = alpha
        return (v >= 0).to(v.dtype)

    @staticmethod
    def backward(ctx, grad):
        (v,) = ctx.saved_tensors
        return grad * ctx.alpha / (2 * (1 + (math.pi / 2 * ctx.alpha * v).square())), None


class FastSigmoid(torch.autograd.Function):
    @staticmethod
    def forward(v):
        return torch.heaviside(v, torch.zeros_like(v))

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, grad):
        (v,) = ctx.saved_tensors
        return grad / (25 * v.abs() + 1) ** 2


def detach_trick(v):
    soft = torch.sigmoid(3 * v)
    return (v > 0).to(v.dtype) + soft - soft.detach()


def in_place(v):
    w = v * 2
    w.clamp_(-1, 1).mul_(0.5)
    w += 0.5
    return w


def masks(v):
    out = torch.zeros_like(v)
    out[v > 0.5] = 1.0
    return out + torch.where((v > -0.5) & ~(v > 0.5), v + 0.5, 0.0)


def arithmetic(v):
    constant = torch.tensor(0.25, dtype=v.dtype)
    return torch.lerp(v, torch.addcmul(v, v, v, value=0.1), 0.3) / constant.reciprocal() - v % 0.7 + v.detach() // 0.3


def powers(v):
    a = v.abs() + 0.1
    return a**2.5 - a**-2 + a**0.5 - a**-0.5 + 2**v + a.rsqrt() + v**3


def trigonometry(v):
    return torch.sin(v) * torch.cos(v) + torch.atan2(v, v * v + 1) + torch.atan(v) + torch.tan(v / 4) + torch.asinh(v)


def logarithms(v):
    a = v.abs() + 0.5
    return torch.log(a) + torch.log1p(a) + torch.expm1(-a) + torch.log2(a) + torch.exp2(-a) + torch.logaddexp(v, a)


def error_functions(v):
    return torch.erf(v) + 0.3 * torch.special.erfc(v) + torch.sinc(v)


def rounding(v):
    steps = torch.floor(v) + torch.ceil(v) + torch.trunc(v) + torch.round(v, decimals=1) + torch.frac(v) + v.sign()
    return v + 0.1 * steps.detach()


def comparisons(v):
    inside = torch.logical_xor(v > 0.2, v <= -0.2) | torch.isnan(v) | (v == 0.1) & (v != 0.3)
    return torch.maximum(v, 0.1 * v) - torch.minimum(v * v, v + 2) + inside.float().to(v.dtype) + (v < 0).int()


def with_default(v, k=2.0):
    return torch.tanh(k * v)


def bounded(fn):
    """What a neuron needs of a spike function for its membrane not to run away."""
    return lambda v: torch.tanh(fn(v))


HAND_WRITTEN = {f.__name__: f for f in (
    detach_trick, in_place, masks, arithmetic, powers, trigonometry, logarithms, error_functions, rounding, comparisons,
    with_default,
)}  # fmt: skip
OF_TORCH = {f.__name__: f for f in (
    torch.sigmoid, torch.tanh, torch.relu, torch.nn.functional.softsign, F.hardtanh, F.gelu, F.silu, F.elu, F.softplus,
    F.leaky_relu, F.hardswish, F.logsigmoid, F.mish, F.softshrink, F.hardshrink, F.relu6, F.celu, F.tanhshrink,
)}  # fmt: skip
MODULES = {
    "sequence": lambda: nn.Sequential(nn.Tanh(), nn.Hardshrink(0.1)),
    "slope": lambda: Slope(),
    "slope of one element": lambda: Slope((1,)),
    "slope per neuron": lambda: Slope((4,)),
    "learnable Arctan": lambda: functional.Arctan(2.0),
}
OTHERS = {
    "autograd.Function": lambda v: Arc.apply(v, 2.0),
    "new-style Function": FastSigmoid.apply,
    "partial": functools.partial(with_default, k=3.0),
    "sigmoid4x": functional.sigmoid4x,
    **{f"{c.__name__}": c(1.5) for c in (
        functional.HeaviErfc, functional.HeaviTanh, functional.HeaviCirc, functional.Triangle, functional.SuperSpike,
        functional.Logistic, functional.CircDist,
    )},
}  # fmt: skip
SPIKE_FNS = {**{name: bounded(f) for name, f in HAND_WRITTEN.items()}, **OF_TORCH, **OTHERS}
QUANT_FNS = {
    "round_ste": functional.round_ste(0.25),
    "stochastic_round_ste": functional.stochastic_round_ste(0.5),
    "probabilistic_ste": functional.probabilistic_ste(),
    "user's": lambda v: v + ((v * 4).round() / 4 - v).detach(),
}


def check(**callables):
    layer = tt.snn.LIB(4, **callables).double()
    assert_close(scanned(layer, "cpp"), scanned(layer, "eager"))
    return layer


@pytest.mark.parametrize("name", SPIKE_FNS)
def test_spike_fn(name):
    check(spike_fn=SPIKE_FNS[name])


@pytest.mark.parametrize("name", MODULES)
def test_module_with_parameters(name):
    module = MODULES[name]()
    layer = check(spike_fn=module)
    layer.zero_states()
    y = tt.scan(layer, torch.randn(5, 3, 4, dtype=torch.float64), backend="cpp")
    y.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


@pytest.mark.parametrize("name", QUANT_FNS)
def test_quant_fn(name):
    check(quant_fn=QUANT_FNS[name])


def test_quantised_module():
    check(spike_fn=Slope(), quant_fn=functional.round_ste())


CHANGES = {
    "attribute of a module": (lambda: Slope(), lambda f: setattr(f, "gain", 3.0)),
    "buffer of a module": (lambda: Slope(), lambda f: f.shift.fill_(0.7)),
    "parameter of a module": (lambda: Slope(), lambda f: f.slope.data.fill_(0.3)),
    "nested module": (lambda: nn.Sequential(nn.LeakyReLU(0.2)), lambda f: setattr(f[0], "negative_slope", 0.5)),
    "default of a function": (lambda: with_default, lambda f: setattr(f, "__defaults__", (5.0,))),
}


@pytest.mark.parametrize("name", CHANGES)
def test_change_between_calls_changes_the_result(name):
    make, change = CHANGES[name]
    fn = make()
    defaults = getattr(fn, "__defaults__", None)
    layer = tt.snn.LIB(4, spike_fn=fn).double()
    before = scanned(layer, "cpp")
    change(fn)
    try:
        after = scanned(layer, "cpp")
        assert (after[0] - before[0]).abs().max() > 1e-3
        assert_close(after, scanned(layer, "eager"))
    finally:
        if defaults:
            fn.__defaults__ = defaults


def test_closure_and_training_flag_change_the_result():
    scale = 1.0

    def annealed(v):
        return torch.sigmoid(scale * v)

    layer = tt.snn.LIB(4, spike_fn=annealed).double()
    soft = scanned(layer, "cpp")
    scale = 8.0
    hard = scanned(layer, "cpp")
    assert (soft[0] - hard[0]).abs().max() > 1e-2
    assert_close(hard, scanned(layer, "eager"))

    class Mode(nn.Module):
        def forward(self, v):
            return torch.sigmoid(v) if self.training else (v > 0).to(v.dtype)

    layer = tt.snn.LIB(4, spike_fn=Mode()).double()
    scanned(layer, "cpp")
    layer.eval()
    assert set(scanned(layer, "cpp")[0].unique().tolist()) <= {0.0, 1.0}
