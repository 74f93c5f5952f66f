"""Membranes. What leaves is the membrane before reset, which the reset then writes."""

import triton
import triton.language as tl

from ..chain import Link, pair
from .dual import fork_under_dual

# Leaky: mem = beta*mem + drive


@triton.jit
def leaky(wire, state, par, rng, conf: tl.constexpr):
    mem = ()
    for j in tl.static_range(len(wire)):
        mem = mem + (par[j] * state[j] + wire[j],)
    return mem, ()


@triton.jit
def leaky_back(gwire, gnew, wire, state, par, rng, conf: tl.constexpr):
    gmem, gbeta = (), ()
    for j in tl.static_range(len(wire)):
        gmem = gmem + (par[j] * gwire[j],)
        gbeta = gbeta + (state[j] * gwire[j],)
    return gwire, gmem, gbeta


# EMA: mem = beta*mem + (1 - beta)*drive


@triton.jit
def ema(wire, state, par, rng, conf: tl.constexpr):
    mem = ()
    for j in tl.static_range(len(wire)):
        mem = mem + (par[j] * state[j] + (1 - par[j]) * wire[j],)
    return mem, ()


@triton.jit
def ema_back(gwire, gnew, wire, state, par, rng, conf: tl.constexpr):
    gdrive, gmem, gbeta = (), (), ()
    for j in tl.static_range(len(wire)):
        gdrive = gdrive + ((1 - par[j]) * gwire[j],)
        gmem = gmem + (par[j] * gwire[j],)
        gbeta = gbeta + ((state[j] - wire[j]) * gwire[j],)
    return gdrive, gmem, gbeta


# Integrator: mem = mem + drive


@triton.jit
def integrator(wire, state, par, rng, conf: tl.constexpr):
    mem = ()
    for j in tl.static_range(len(wire)):
        mem = mem + (state[j] + wire[j],)
    return mem, ()


@triton.jit
def integrator_back(gwire, gnew, wire, state, par, rng, conf: tl.constexpr):
    return gwire, gwire, ()


def _wire(forward, backward, decays=("beta",)):
    def wire(stage, pipeline, fire):
        if "prev_output" not in pipeline.states:
            yield from fork_under_dual(pipeline)
        parameters = [name for decay in decays for name in pair(decay, pipeline.dual)]
        yield Link(forward, backward, pair("mem", pipeline.dual), (), tuple(parameters))
    return wire


wire_leaky = _wire(leaky, leaky_back)
wire_ema = _wire(ema, ema_back)
wire_integrator = _wire(integrator, integrator_back, decays=())
