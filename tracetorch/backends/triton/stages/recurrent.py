"""Recurrent: rec = gamma*rec + (1 - gamma)*prev_output        drive = drive + rec_weight*rec"""

import triton
import triton.language as tl

from ..chain import Link, pair
from ..tuples import total
from .dual import fork_under_dual, split, split_back

# state (rec..., prev_output), par (gamma..., rec_weight...)


@triton.jit
def recurrent(wire, state, par, rng, conf: tl.constexpr):
    n: tl.constexpr = len(wire)
    prev, rec, drive = split(state[n], n), (), ()
    for j in tl.static_range(n):
        rec = rec + (par[j] * state[j] + (1 - par[j]) * prev[j],)
    parts = split(total(rec), n)
    for j in tl.static_range(n):
        drive = drive + (wire[j] + par[n + j] * parts[j],)
    return drive, rec


@triton.jit
def recurrent_back(gwire, gnew, wire, state, par, rng, conf: tl.constexpr):
    n: tl.constexpr = len(wire)
    prev, rec = split(state[n], n), recurrent(wire, state, par, rng, conf)[1]
    parts, gparts, gweight = split(total(rec), n), (), ()
    for j in tl.static_range(n):
        gparts = gparts + (gwire[j] * par[n + j],)
        gweight = gweight + (gwire[j] * parts[j],)
    gtotal, grec, gprev, ggamma = split_back(gparts, total(rec)), (), (), ()
    for j in tl.static_range(n):
        g = gnew[j] + gtotal
        grec = grec + (par[j] * g,)
        gprev = gprev + ((1 - par[j]) * g,)
        ggamma = ggamma + ((state[j] - prev[j]) * g,)
    return gwire, grec + (split_back(gprev, state[n]),), ggamma + gweight


@triton.jit
def remember(wire, state, par, rng, conf: tl.constexpr):
    """prev_output = output"""
    return wire, wire


@triton.jit
def remember_back(gwire, gnew, wire, state, par, rng, conf: tl.constexpr):
    return (gwire[0] + gnew[0],), (), ()


def wire(stage, pipeline, fire):
    yield from fork_under_dual(pipeline)
    rec, gamma, weight = (pair(name, pipeline.dual) for name in ("rec", "gamma", "rec_weight"))
    yield Link(recurrent, recurrent_back, (*rec, "prev_output"), rec, gamma + weight)


def wire_last(pipeline):
    """Keep the output for the next step."""
    if "prev_output" in pipeline.states:
        yield Link(remember, remember_back, (), ("prev_output",))
