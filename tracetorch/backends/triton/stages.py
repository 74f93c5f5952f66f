"""Hand-written stages: each trait's step, forward and backward, under the formula it implements.

A wire is the tuple of values that leaves one stage and enters the next; a neuron starts with the wire (x,).

    stage(wire, state, par, rng, conf)                      -> (wire, new state)
    stage_back(gwire, gnew, wire, state, par, rng, conf)    -> (gwire, gstate, gpar)

`state` and `par` are tuples of what the stage reads, `gnew` the cotangents of what it writes. Traces come as a
tuple of one, or under Dual of two (positive, negative), and every formula is written once for either. `rng`
is (seed, position, low and high word of the element's index), or () where nothing draws.
"""

import triton
import triton.language as tl

from tracetorch.backends.triton.math import divide, round_even, sigmoid, uniform
from tracetorch.backends.triton.tuples import add_each, get, total


@triton.jit
def split(v, n: tl.constexpr):
    """(v,), or for n = 2 (where(v >= 0, v, 0), where(v <= 0, v, 0))."""
    if n == 1:
        parts = (v,)
    else:
        parts = (tl.where(v >= 0, v, 0.0), tl.where(v <= 0, v, 0.0))
    return parts


@triton.jit
def split_back(g, v):
    """At v = 0 both branches pass gradient."""
    if len(g) == 1:
        gv = g[0]
    else:
        gv = tl.where(v >= 0, g[0], 0.0) + tl.where(v <= 0, g[1], 0.0)
    return gv


# Dual: the input, split by sign.


@triton.jit
def fork(wire, state, par, rng, conf: tl.constexpr):
    return split(wire[0], 2), ()


@triton.jit
def fork_back(gwire, gnew, wire, state, par, rng, conf: tl.constexpr):
    return (split_back(gwire, wire[0]),), (), ()


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


# Recurrent: rec = gamma*rec + (1 - gamma)*prev_output        drive = drive + rec_weight*rec
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


# Leaky: mem = beta*mem + drive. What leaves is the membrane before reset, which the reset then writes.


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


# Firing: conf is a `Firing` (composition.py). The wire becomes ((spikes...), (membranes...)).


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


# Resets: they write the membranes and let the spikes through.
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


# Outputs: the potential of a neuron that does not fire, the sum of its spikes, or of its scaled spikes.


@triton.jit
def potential(wire, state, par, rng, conf: tl.constexpr):
    return (total(wire),), wire


@triton.jit
def potential_back(gwire, gnew, wire, state, par, rng, conf: tl.constexpr):
    return add_each(gnew, gwire[0]), (), ()


@triton.jit
def output(wire, state, par, rng, conf: tl.constexpr):
    return (total(wire),), ()


@triton.jit
def output_back(gwire, gnew, wire, state, par, rng, conf: tl.constexpr):
    gspikes = ()
    for _j in tl.static_range(len(wire)):
        gspikes = gspikes + (gwire[0],)
    return gspikes, (), ()


@triton.jit
def scaled(wire, state, par, rng, conf: tl.constexpr):
    """output = sum(spike*scale)"""
    amplitudes = ()
    for j in tl.static_range(len(wire)):
        amplitudes = amplitudes + (wire[j] * par[j],)
    return (total(amplitudes),), ()


@triton.jit
def scaled_back(gwire, gnew, wire, state, par, rng, conf: tl.constexpr):
    gspikes, gscale = (), ()
    for j in tl.static_range(len(wire)):
        gspikes = gspikes + (gwire[0] * par[j],)
        gscale = gscale + (gwire[0] * wire[j],)
    return gspikes, (), gscale
