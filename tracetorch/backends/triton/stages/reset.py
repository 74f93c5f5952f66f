"""Resets: they write the membranes and let the spikes through."""

import triton
import triton.language as tl

from ..chain import Link, pair
from ..tuples import total

# Subtract: mem = mem - sum(spike*threshold), half from each membrane under Dual; conf is detach


@triton.jit
def subtract(wire, state, par, rng, conf: tl.constexpr):
    spikes, mems, charges, mem = wire[0], wire[1], (), ()
    for j in tl.static_range(len(par)):
        charges = charges + (spikes[j] * par[j],)
    charge = total(charges)
    for j in tl.static_range(len(mems)):
        mem = mem + (mems[j] - charge / len(mems),)
    return spikes, mem


@triton.jit
def subtract_back(gwire, gnew, wire, state, par, rng, conf: tl.constexpr):
    spikes, gspikes, gthreshold = wire[0], (), ()
    g = -total(gnew) / len(wire[1])
    for j in tl.static_range(len(par)):
        gthreshold = gthreshold + (g * spikes[j],)
        if conf:
            gspikes = gspikes + (gwire[j],)
        else:
            gspikes = gspikes + (gwire[j] + g * par[j],)
    return (gspikes, gnew), (), gthreshold


@triton.jit
def zero(wire, state, par, rng, conf: tl.constexpr):
    """mem = where(spike != 0, 0, mem)"""
    spike, mem = total(wire[0]), ()
    for j in tl.static_range(len(wire[1])):
        mem = mem + (tl.where(spike != 0, 0.0, wire[1][j]),)
    return wire[0], mem


@triton.jit
def zero_back(gwire, gnew, wire, state, par, rng, conf: tl.constexpr):
    spike, gmem = total(wire[0]), ()
    for j in tl.static_range(len(gnew)):
        gmem = gmem + (tl.where(spike != 0, 0.0, gnew[j]),)
    return (gwire, gmem), (), ()


@triton.jit
def keep(wire, state, par, rng, conf: tl.constexpr):
    """No reset."""
    return wire[0], wire[1]


@triton.jit
def keep_back(gwire, gnew, wire, state, par, rng, conf: tl.constexpr):
    return (gwire, gnew), (), ()


def wire(stage, pipeline, fire):
    mem = pair("mem", pipeline.dual)
    if stage.mode == "subtract":
        yield Link(subtract, subtract_back, (), mem, pair("threshold", pipeline.sided), stage.detach)
    elif stage.mode == "zero":
        yield Link(zero, zero_back, (), mem)
    else:
        yield Link(keep, keep_back, (), mem)
