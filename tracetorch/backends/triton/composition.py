"""From a step to the stages that run it: hand-written ones where every trait has one."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from tracetorch import functional, stages
from tracetorch.backends.triton import stages as written
from tracetorch.pipeline import PAIR, Pipeline, Step


@dataclass(frozen=True)
class Firing:
    """What the firing stages need to know of spike_fn and quant_fn."""

    spike: Any
    spike_back: Any
    quant: Any
    quant_back: Any
    step: float


@dataclass(frozen=True)
class Wired:
    """One stage in its place: its two functions, and the names (in a Composition: the indices) it is given."""

    forward: Any
    backward: Any
    reads: tuple = ()
    writes: tuple = ()
    parameters: tuple = ()
    conf: Any = None


class Composition:
    """What the loop is given for one step: the stages by index, and the order of states and parameters.

    states, init: names and start values. parameters: names, in the order in which kernels take them.
    traces: how many values the last wire carries after the output. draws: whether random numbers are drawn.
    text: the source of its functions.

    To Triton it is one opaque constant. Equal compositions print alike, and `cache_key` covers the text of every
    function inside: Triton's own key for a constant is how it prints, and a function prints as its mere name.
    """

    def __init__(self, name: str, wired: Iterable[Wired], init: dict[str, float], *,
                 draws: bool = False, traces: int = 0, text: str = ""):
        wired = tuple(wired)
        self.name, self.draws, self.traces = name, draws, traces
        self.text = text or "\n\n".join(_texts(wired))
        self.states, self.init = tuple(init), tuple(init.values())
        self.parameters = tuple(dict.fromkeys(n for stage in wired for n in stage.parameters))
        reads = [n for stage in wired for n in stage.reads]
        writes = [n for stage in wired for n in stage.writes]
        uses = [n for stage in wired for n in stage.parameters]
        states = {n: i for i, n in enumerate(self.states)}
        parameters = {n: i for i, n in enumerate(self.parameters)}
        self.stages = tuple(
            replace(stage, reads=tuple(states[n] for n in stage.reads),
                    writes=tuple(states[n] for n in stage.writes),
                    parameters=tuple(parameters[n] for n in stage.parameters))
            for stage in wired
        )
        self.depth = len(wired)
        self.write_order = tuple(writes.index(n) for n in self.states)
        self.read_order = tuple(reads.index(n) for n in self.states)
        self.uses = tuple(tuple(i for i, used in enumerate(uses) if used == n) for n in self.parameters)
        self.zero_states, self.zero_parameters = (0.0,) * len(states), (0.0,) * len(parameters)
        self.zero_traces = (0.0,) * traces
        text = repr((self.stages, self.init, self.uses, traces)) + "".join(_sources(self.stages))
        self.cache_key = hashlib.sha256(text.encode()).hexdigest()
        self.identity = f"{name}_{self.cache_key[:16]}"

    def __repr__(self) -> str:
        return self.identity

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Composition) and self.cache_key == other.cache_key

    def __hash__(self) -> int:
        return hash(self.cache_key)


def _functions(stages: Iterable[Wired]) -> Iterable[Any]:
    """Every kernel function in `stages`."""
    for stage in stages:
        firing = list(vars(stage.conf).values())[:-1] if isinstance(stage.conf, Firing) else []
        yield from (stage.forward, stage.backward, *firing)


def _sources(stages: Iterable[Wired]) -> Iterable[str]:
    """What Triton hashes of each function: its text, and that of what it calls."""
    return (getattr(function, "cache_key", "") for function in _functions(stages))


def _texts(stages: Iterable[Wired]) -> Iterable[str]:
    return (inspect.getsource(function.fn).rstrip() for function in dict.fromkeys(_functions(stages)))


def known(step: Step) -> Composition | None:
    """The composition of hand-written stages that runs `step`, or None where some part has none."""
    pipeline = step.pipeline
    if type(pipeline) is not Pipeline:      # a padded one
        return None
    fire = _firing(step) if pipeline.fires else None
    if (pipeline.fires and fire is None) or any(type(stage) not in _TRAITS for stage in pipeline.stages):
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


_QUANTISERS = {
    nn.Identity: (written.identity, written.straight_through),
    functional.round_ste: (written.round_ste, written.straight_through),
    functional.stochastic_round_ste: (written.stochastic_round_ste, written.straight_through),
    functional.probabilistic_ste: (written.probabilistic_ste, written.probabilistic_back),
}


def _firing(step: Step) -> Firing | None:
    """spike_fn and quant_fn as kernels know them, or None."""
    spike = None
    if step.spike_fn is functional.sigmoid4x:
        spike = (written.sigmoid4x, written.sigmoid4x_back)
    elif type(step.spike_fn) is functional.surrogate and step.spike_fn.fn is functional.sigmoid4x:
        spike = (written.heaviside4x, written.heaviside4x_back)
    quant = _QUANTISERS.get(type(step.quant_fn))
    if spike is None or quant is None:
        return None
    return Firing(*spike, *quant, float(getattr(step.quant_fn, "step_size", 1.0)))


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
        yield Wired(written.subtract, written.subtract_back, (), mem, thresholds, stage.detach)
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
