"""From a step to the stages that run it: hand-written ones where every trait has one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from tracetorch import functional, stages
from tracetorch.backends.triton import stages as written
from tracetorch.pipeline import PAIR, Step


@dataclass(frozen=True)
class Wired:
    """One stage in its place: its two functions and the names it reads, writes and is given."""

    forward: Any
    backward: Any
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    conf: tuple = ()


class Composition:
    """What the loop is given for one step: the stages by index, and the order of states and parameters.

    states, init: names and start values; parameters: names, in the order in which kernels take them.
    traces: how many values the last wire carries after the output. draws: whether random numbers are drawn.
    stages, source: the constexpr arguments C and SOURCE of the kernels.
    """

    def __init__(self, name: str, wired: Iterable[Wired], init: dict[str, float], *,
                 draws: bool = False, traces: int = 0, written: bool = True):
        wired = tuple(wired)
        self.name, self.draws, self.traces, self.written = name, draws, traces, written
        self.states, self.init = tuple(init), tuple(init.values())
        self.parameters = tuple(dict.fromkeys(n for stage in wired for n in stage.parameters))
        reads = [n for stage in wired for n in stage.reads]
        writes = [n for stage in wired for n in stage.writes]
        uses = [n for stage in wired for n in stage.parameters]
        order = {n: i for i, n in enumerate(self.states)} | {n: i for i, n in enumerate(self.parameters)}

        def index(names):
            return tuple(order[n] for n in names)

        self.stages = (
            tuple((s.forward, s.backward, index(s.reads), index(s.writes), index(s.parameters), s.conf)
                  for s in wired),
            tuple(writes.index(n) for n in self.states),
            tuple(reads.index(n) for n in self.states),
            tuple(tuple(i for i, used in enumerate(uses) if used == n) for n in self.parameters),
        )
        self.source = _source(self.stages)


def _source(stages: tuple) -> str:
    """A hash of the text of every function in `stages`: Triton's own cache key has only their names."""
    found, left = [], list(stages)
    while left:
        item = left.pop()
        if isinstance(item, tuple):
            left.extend(item)
        elif hasattr(item, "cache_key"):
            found.append(item.cache_key)
    return hashlib.sha256("".join(found).encode()).hexdigest()


def known(step: Step) -> Composition | None:
    """The composition of hand-written stages that runs `step`, or None where some part has none."""
    pipeline = step.pipeline
    fire = _firing(step) if pipeline.fires else ()
    if fire is None or any(type(stage) not in _TRAITS for stage in pipeline.stages):
        return None
    wired = [w for stage in pipeline.stages for w in _TRAITS[type(stage)](stage, pipeline, fire)]
    if not pipeline.fires:
        mem = _pair("mem", pipeline.dual)
        wired.append(Wired(written.potential, written.potential_back, (), mem))
    elif pipeline.sided and not any(type(stage) is stages.Scaled for stage in pipeline.stages):
        wired.append(Wired(written.output, written.output_back))
    if "prev_output" in pipeline.states:
        wired.append(Wired(written.remember, written.remember_back, (), ("prev_output",)))
    draws = type(step.quant_fn) in (functional.stochastic_round_ste, functional.probabilistic_ste)
    return Composition(step.name, wired, {n: s.init for n, s in pipeline.states.items()}, draws=draws)


def _pair(name: str, is_pair: bool) -> tuple[str, ...]:
    return tuple(p + name for p in PAIR) if is_pair else (name,)


_SPIKES = {functional.sigmoid4x: (written.sigmoid4x, written.sigmoid4x_back)}
_QUANTISERS = {
    nn.Identity: (written.identity, written.straight_through),
    functional.round_ste: (written.round_ste, written.straight_through),
    functional.stochastic_round_ste: (written.stochastic_round_ste, written.straight_through),
    functional.probabilistic_ste: (written.probabilistic_ste, written.probabilistic_back),
}


def _firing(step: Step) -> tuple | None:
    """(spike, spike_back, quant, quant_back, step of the quantiser), or None."""
    spike = next((pair for fn, pair in _SPIKES.items() if fn is step.spike_fn), None)
    quant = _QUANTISERS.get(type(step.quant_fn))
    if spike is None or quant is None:
        return None
    return (*spike, *quant, float(getattr(step.quant_fn, "step_size", 1.0)))


def _synaptic(stage, pipeline, fire):
    syn, alpha = _pair("syn", pipeline.dual), _pair("alpha", pipeline.dual)
    yield Wired(written.synaptic, written.synaptic_back, syn, syn, alpha)


def _fork(pipeline):
    if pipeline.dual:
        yield Wired(written.fork, written.fork_back)


def _recurrent(stage, pipeline, fire):
    yield from _fork(pipeline)
    rec, gamma, weight = (_pair(name, pipeline.dual) for name in ("rec", "gamma", "rec_weight"))
    yield Wired(written.recurrent, written.recurrent_back, (*rec, "prev_output"), rec, gamma + weight)


def _membrane(forward, backward):
    def wire(stage, pipeline, fire):
        if "prev_output" not in pipeline.states:
            yield from _fork(pipeline)
        mem, beta = _pair("mem", pipeline.dual), _pair("beta", pipeline.dual)
        yield Wired(forward, backward, mem, (), beta)
    return wire


def _firing_stage(forward, backward):
    def wire(stage, pipeline, fire):
        bias = ("bias",) if "bias" in pipeline.parameters else ()
        yield Wired(forward, backward, (), (), _pair("threshold", pipeline.sided) + bias, fire)
    return wire


def _reset(stage, pipeline, fire):
    mem = _pair("mem", pipeline.dual)
    if stage.mode == "subtract":
        thresholds = _pair("threshold", pipeline.sided)
        yield Wired(written.subtract, written.subtract_back, (), mem, thresholds, (stage.detach,))
    elif stage.mode == "zero":
        yield Wired(written.zero, written.zero_back, (), mem)
    else:
        yield Wired(written.keep, written.keep_back, (), mem)


def _scaled(stage, pipeline, fire):
    yield Wired(written.scaled, written.scaled_back, (), (), _pair("scale", pipeline.sided))


_TRAITS: dict[type, Callable] = {
    stages.Dual: lambda stage, pipeline, fire: (),
    stages.Synaptic: _synaptic,
    stages.Recurrent: _recurrent,
    stages.Leaky: _membrane(written.leaky, written.leaky_back),
    stages.EMA: _membrane(written.ema, written.ema_back),
    stages.Binary: _firing_stage(written.binary, written.binary_back),
    stages.Ternary: _firing_stage(written.ternary, written.ternary_back),
    stages.Reset: _reset,
    stages.Scaled: _scaled,
}
