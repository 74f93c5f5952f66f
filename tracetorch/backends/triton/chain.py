"""From a step to the stages that run it: hand-written ones where every stage has one."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from ...pipeline import PAIR


@dataclass(frozen=True)
class Firing:
    """What the firing stages need to know of spike_fn and quant_fn."""

    spike: Any
    spike_back: Any
    quant: Any
    quant_back: Any
    step: float


@dataclass(frozen=True)
class Link:
    """One stage in its place: its two functions, and the names (in a Chain: the indices) it is given."""

    forward: Any
    backward: Any
    reads: tuple = ()
    writes: tuple = ()
    parameters: tuple = ()
    conf: Any = None


class Chain:
    """What the loop is given for one step: the stages by index, and the order of states and parameters.

    states, init: names and start values. parameters: names, in the order in which kernels take them.
    recordings: how many values the last wire carries after the output. draws: whether random numbers are drawn.
    text: the source of its functions.

    To Triton it is one opaque constant. Equal compositions print alike, and `cache_key` covers the text of every
    function inside: Triton's own key for a constant is how it prints, and a function prints as its mere name.
    """

    def __init__(self, name: str, links: Iterable[Link], init: dict[str, float], *,
                 draws: bool = False, recordings: int = 0, text: str = ""):
        links = tuple(links)
        self.name, self.draws, self.recordings = name, draws, recordings
        self.text = text or "\n\n".join(_texts(links))
        self.states, self.init = tuple(init), tuple(init.values())
        self.parameters = tuple(dict.fromkeys(n for stage in links for n in stage.parameters))
        reads = [n for stage in links for n in stage.reads]
        writes = [n for stage in links for n in stage.writes]
        uses = [n for stage in links for n in stage.parameters]
        states = {n: i for i, n in enumerate(self.states)}
        parameters = {n: i for i, n in enumerate(self.parameters)}
        self.stages = tuple(
            replace(stage, reads=tuple(states[n] for n in stage.reads),
                    writes=tuple(states[n] for n in stage.writes),
                    parameters=tuple(parameters[n] for n in stage.parameters))
            for stage in links
        )
        self.depth = len(links)
        self.write_order = tuple(writes.index(n) for n in self.states)
        self.read_order = tuple(reads.index(n) for n in self.states)
        self.uses = tuple(tuple(i for i, used in enumerate(uses) if used == n) for n in self.parameters)
        self.zero_states, self.zero_parameters = (0.0,) * len(states), (0.0,) * len(parameters)
        self.zero_recordings = (0.0,) * recordings
        text = repr((self.stages, self.init, self.uses, recordings)) + "".join(_sources(self.stages))
        self.cache_key = hashlib.sha256(text.encode()).hexdigest()
        self.identity = f"{name}_{self.cache_key[:16]}"

    def __repr__(self) -> str:
        return self.identity

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Chain) and self.cache_key == other.cache_key

    def __hash__(self) -> int:
        return hash(self.cache_key)


def _functions(stages: Iterable[Link]) -> Iterable[Any]:
    """Yield every kernel function in `stages`."""
    for stage in stages:
        yield from (stage.forward, stage.backward)
        if isinstance(stage.conf, Firing):
            yield from (stage.conf.spike, stage.conf.spike_back, stage.conf.quant, stage.conf.quant_back)


def _sources(stages: Iterable[Link]) -> Iterable[str]:
    """Yield what Triton hashes of each function: its text, and that of what it calls."""
    return (getattr(function, "cache_key", "") for function in _functions(stages))


def _texts(stages: Iterable[Link]) -> Iterable[str]:
    return (inspect.getsource(function.fn).rstrip() for function in dict.fromkeys(_functions(stages)))


def pair(name: str, is_pair: bool) -> tuple[str, ...]:
    """Return (pos_name, neg_name), or (name,)."""
    return tuple(p + name for p in PAIR) if is_pair else (name,)
