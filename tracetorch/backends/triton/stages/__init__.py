"""Hand-written stages, one file a stage: its step, forward and backward, under the formula, and its wiring below.

A wire is the tuple of values that leaves one stage and enters the next; a neuron starts with the wire (x,).

    stage(wire, state, par, rng, conf)                      -> (wire, new state)
    stage_back(gwire, gnew, wire, state, par, rng, conf)    -> (gwire, gstate, gpar)

`state` and `par` are tuples of what the stage reads, `gnew` the cotangents of what it writes. Recordings come as a
tuple of one, or under Dual of two (positive, negative), and every formula is written once for either. `rng`
is (seed, position, low and high word of the element's index), or () where nothing draws.

`wire(stage, pipeline, fire)` yields the links that a stage adds to the chain. A stage that is not in `WIRING`
(Adaptive, Refractory, RelativeRefractory, a user's own) makes its neuron run on a derived kernel.
"""

from collections.abc import Callable

from .... import stages
from . import dual, firing, membrane, output, recurrent, reset, synaptic

WIRING: dict[type, Callable] = {
    stages.Dual: dual.wire,
    stages.Synaptic: synaptic.wire_synaptic,
    stages.Current: synaptic.wire_current,
    stages.Recurrent: recurrent.wire,
    stages.Leaky: membrane.wire_leaky,
    stages.EMA: membrane.wire_ema,
    stages.Integrator: membrane.wire_integrator,
    stages.Binary: firing.wire_binary,
    stages.Ternary: firing.wire_ternary,
    stages.Reset: reset.wire,
    stages.Scaled: output.wire,
}
