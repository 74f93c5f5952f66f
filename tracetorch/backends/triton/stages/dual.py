"""Dual: the input, split by sign; later stages split their own wires alike."""

import triton
import triton.language as tl

from ..chain import Link


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


@triton.jit
def fork(wire, state, par, rng, conf: tl.constexpr):
    return split(wire[0], 2), ()


@triton.jit
def fork_back(gwire, gnew, wire, state, par, rng, conf: tl.constexpr):
    return (split_back(gwire, wire[0]),), (), ()


def fork_under_dual(pipeline):
    """Split the wire where the pipeline is dual."""
    if pipeline.dual:
        yield Link(fork, fork_back)


def wire(stage, pipeline, fire):
    """Nothing of its own: the first stage that needs the two parts forks the wire."""
    return ()
