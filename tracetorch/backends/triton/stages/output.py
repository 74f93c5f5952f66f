"""Outputs: the potential of a neuron that does not fire, the sum of its spikes, or of its scaled spikes."""

import triton
import triton.language as tl

from .... import stages
from ..chain import Link, pair
from ..tuples import add_each, total


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


def wire(stage, pipeline, fire):
    yield Link(scaled, scaled_back, (), (), pair("scale", pipeline.sided))


def wire_last(pipeline):
    """Give the potential where nothing fires, and the sum of the spikes where `Scaled` gives none."""
    if not pipeline.fires:
        yield Link(potential, potential_back, (), pair("mem", pipeline.dual))
    elif pipeline.sided and not any(type(stage) is stages.Scaled for stage in pipeline.stages):
        yield Link(output, output_back)
