"""Synapses: what leaves is the sum of the traces."""

import triton
import triton.language as tl

from ..chain import Link, pair
from ..tuples import total
from .dual import split, split_back

# Synaptic: syn = alpha*syn + (1 - alpha)*x        x = syn


@triton.jit
def synaptic(wire, state, par, rng, conf: tl.constexpr):
    x, syn = split(wire[0], len(state)), ()
    for j in tl.static_range(len(state)):
        syn = syn + (par[j] * state[j] + (1 - par[j]) * x[j],)
    return (total(syn),), syn


@triton.jit
def synaptic_back(gwire, gnew, wire, state, par, rng, conf: tl.constexpr):
    x, gx, gsyn, galpha = split(wire[0], len(state)), (), (), ()
    for j in tl.static_range(len(state)):
        g = gnew[j] + gwire[0]
        gx = gx + ((1 - par[j]) * g,)
        gsyn = gsyn + (par[j] * g,)
        galpha = galpha + ((state[j] - x[j]) * g,)
    return (split_back(gx, wire[0]),), gsyn, galpha


# Current: syn = alpha*syn + x        x = syn


@triton.jit
def current(wire, state, par, rng, conf: tl.constexpr):
    x, syn = split(wire[0], len(state)), ()
    for j in tl.static_range(len(state)):
        syn = syn + (par[j] * state[j] + x[j],)
    return (total(syn),), syn


@triton.jit
def current_back(gwire, gnew, wire, state, par, rng, conf: tl.constexpr):
    gx, gsyn, galpha = (), (), ()
    for j in tl.static_range(len(state)):
        g = gnew[j] + gwire[0]
        gx = gx + (g,)
        gsyn = gsyn + (par[j] * g,)
        galpha = galpha + (state[j] * g,)
    return (split_back(gx, wire[0]),), gsyn, galpha


def _wire(forward, backward):
    def wire(stage, pipeline, fire):
        syn, alpha = pair("syn", pipeline.dual), pair("alpha", pipeline.dual)
        yield Link(forward, backward, syn, syn, alpha)
    return wire


wire_synaptic = _wire(synaptic, synaptic_back)
wire_current = _wire(current, current_back)
