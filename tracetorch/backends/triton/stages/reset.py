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


# Zero and value: where(spike != 0, to, mem), or, where conf is False, mem*(1 - fired) + to*fired;
# par is () for zero or (reset_to,), half of which goes to each membrane under Dual


@triton.jit
def anew(wire, state, par, rng, conf: tl.constexpr):
    spikes, mem = wire[0], ()
    for j in tl.static_range(len(wire[1])):
        if conf:
            mem = mem + (tl.where(total(spikes) != 0, target(par, len(wire[1])), wire[1][j]),)
        elif len(par) == 1:
            mem = mem + (wire[1][j] * (1 - fired(spikes)) + target(par, len(wire[1])) * fired(spikes),)
        else:
            mem = mem + (wire[1][j] * (1 - fired(spikes)),)
    return spikes, mem


@triton.jit
def anew_back(gwire, gnew, wire, state, par, rng, conf: tl.constexpr):
    spikes, gmem, gspikes, gto = wire[0], (), gwire, ()
    for j in tl.static_range(len(gnew)):
        if conf:
            gmem = gmem + (tl.where(total(spikes) != 0, 0.0, gnew[j]),)
        else:
            gmem = gmem + (gnew[j] * (1 - fired(spikes)),)
    if not conf:
        g = total(gnew) * target(par, len(gnew))
        for j in tl.static_range(len(gnew)):
            g = g - gnew[j] * wire[1][j]
        if len(spikes) == 2:
            gspikes = (gwire[0] + g, gwire[1] - g)
        else:
            gspikes = (gwire[0] + g,)
    if len(par) == 1:
        if conf:
            gto = (tl.where(total(spikes) != 0, total(gnew) / len(gnew), 0.0),)
        else:
            gto = (total(gnew) * fired(spikes) / len(gnew),)
    return (gspikes, gmem), (), gto


@triton.jit
def target(par, membranes: tl.constexpr):
    """What each membrane starts anew from."""
    if len(par) == 1:
        to = par[0] / membranes
    else:
        to = 0.0
    return to


@triton.jit
def fired(spikes):
    """The size of the spikes; those downwards are negative."""
    if len(spikes) == 2:
        size = spikes[0] - spikes[1]
    else:
        size = spikes[0]
    return size


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
    elif stage.mode in ("zero", "value"):
        yield Link(anew, anew_back, (), mem, tuple(stage.parameters()), stage.detach)
    else:
        yield Link(keep, keep_back, (), mem)
