"""Synaptic: syn = alpha*syn + (1 - alpha)*x        x = syn"""

import triton
import triton.language as tl

from ..chain import Link, pair
from ..tuples import total
from .dual import split, split_back


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


def wire(stage, pipeline, fire):
    syn, alpha = pair("syn", pipeline.dual), pair("alpha", pipeline.dual)
    yield Link(synaptic, synaptic_back, syn, syn, alpha)
