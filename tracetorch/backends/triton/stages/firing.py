"""Firing: conf is a `Firing` (chain.py). The wire becomes ((spikes...), (membranes...))."""

import triton
import triton.language as tl

from ..chain import Link, pair
from ..tuples import add_each, get, total


@triton.jit
def fire(v, draw: tl.constexpr, rng, conf: tl.constexpr):
    """quant(spike(v))"""
    return get(conf, "quant")(get(conf, "spike")(v), rng, draw, get(conf, "step"))


@triton.jit
def fire_back(g, v, conf: tl.constexpr):
    u = get(conf, "spike")(v)
    return get(conf, "spike_back")(get(conf, "quant_back")(g, u), v, u)


# Binary: spike = fire(potential - threshold + bias), par (threshold,) or (threshold, bias)


@triton.jit
def above(wire, par):
    v = total(wire) - par[0]
    if len(par) == 2:
        v = v + par[1]
    return v


@triton.jit
def binary(wire, state, par, rng, conf: tl.constexpr):
    return ((fire(above(wire, par), 0, rng, conf),), wire), ()


@triton.jit
def binary_back(gwire, gnew, wire, state, par, rng, conf: tl.constexpr):
    g = fire_back(gwire[0][0], above(wire, par), conf)
    if len(par) == 2:
        gpar = (-g, g)
    else:
        gpar = (-g,)
    return add_each(gwire[1], g), (), gpar


# Ternary: pos_spike = fire(potential - pos_threshold + bias)
#          neg_spike = -fire(-neg_threshold - potential - bias), par (pos_threshold, neg_threshold, bias)


@triton.jit
def ternary(wire, state, par, rng, conf: tl.constexpr):
    v = total(wire)
    pos = fire(v - par[0] + par[2], 0, rng, conf)
    neg = -fire(-par[1] - v - par[2], 1, rng, conf)
    return ((pos, neg), wire), ()


@triton.jit
def ternary_back(gwire, gnew, wire, state, par, rng, conf: tl.constexpr):
    v = total(wire)
    up = fire_back(gwire[0][0], v - par[0] + par[2], conf)
    down = fire_back(-gwire[0][1], -par[1] - v - par[2], conf)
    return add_each(gwire[1], up - down), (), (-up, -down, up - down)


def _wire(forward, backward):
    def wire(stage, pipeline, fire):
        bias = ("bias",) if "bias" in pipeline.parameters else ()
        yield Link(forward, backward, (), (), pair("threshold", pipeline.sided) + bias, fire)
    return wire


wire_binary = _wire(binary, binary_back)
wire_ternary = _wire(ternary, ternary_back)
