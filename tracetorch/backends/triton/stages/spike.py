"""Spike functions and quantisers: what a firing stage is given as `conf`."""

import triton
import triton.language as tl
from torch import nn

from .... import functional
from ..chain import Firing
from ..math import divide, round_even, sigmoid, uniform

# Spike functions: spike(v) and the cotangent of v, given that of u = spike(v).


@triton.jit
def sigmoid4x(v):
    """1 / (1 + exp(-4*v))"""
    return sigmoid(4.0 * v)


@triton.jit
def sigmoid4x_back(g, v, u):
    return g * (4.0 * u * (1.0 - u))


@triton.jit
def heaviside4x(v):
    """1 where v >= 0, with sigmoid4x's derivative."""
    return tl.where(v >= 0, 1.0, 0.0).to(v.dtype)


@triton.jit
def heaviside4x_back(g, v, u):
    smooth = sigmoid4x(v)
    return g * (4.0 * smooth * (1.0 - smooth))


# Quantisers: quant(u, rng, number of the draw, step) and the cotangent of u.


@triton.jit
def identity(u, rng, draw: tl.constexpr, step: tl.constexpr):
    return u


@triton.jit
def straight_through(g, u):
    return g


@triton.jit
def round_ste(u, rng, draw: tl.constexpr, step: tl.constexpr):
    """round(u/step)*step"""
    return round_even(divide(u, step)) * step


@triton.jit
def stochastic_round_ste(u, rng, draw: tl.constexpr, step: tl.constexpr):
    """(low + (uniform < u/step - low))*step        low = floor(u/step)"""
    steps = divide(u, step)
    low = tl.floor(steps)
    return (low + tl.where(uniform(rng, draw, u) < steps - low, 1.0, 0.0)) * step


@triton.jit
def probabilistic_ste(u, rng, draw: tl.constexpr, step: tl.constexpr):
    """u*(uniform < u)"""
    return u * tl.where(uniform(rng, draw, u) < u, 1.0, 0.0)


@triton.jit
def probabilistic_back(g, u):
    return 2.0 * u * g


_QUANTISERS = {
    nn.Identity: (identity, straight_through),
    functional.round_ste: (round_ste, straight_through),
    functional.stochastic_round_ste: (stochastic_round_ste, straight_through),
    functional.probabilistic_ste: (probabilistic_ste, probabilistic_back),
}
DRAWING = (functional.stochastic_round_ste, functional.probabilistic_ste)


def firing_of(step):
    """Return spike_fn and quant_fn of a step as kernels know them, or None."""
    spike = None
    if step.spike_fn is functional.sigmoid4x:
        spike = (sigmoid4x, sigmoid4x_back)
    elif type(step.spike_fn) is functional.surrogate and step.spike_fn.fn is functional.sigmoid4x and (
            step.spike_fn.most == 1):
        spike = (heaviside4x, heaviside4x_back)
    quant = _QUANTISERS.get(type(step.quant_fn))
    if spike is None or quant is None:
        return None
    return Firing(*spike, *quant, float(getattr(step.quant_fn, "step_size", 1.0)))
