"""The one reference step: ordered stages run over a namespace that is reached by name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from .stages import PLACES, Dual, Parameter, Stage, State

States = dict[str, Tensor]
PAIR = ("pos_", "neg_")
HINTS = {
    "spike": "a firing stage provides it: add tt.Binary or tt.Ternary",
    "fire": "it needs a firing stage: add tt.Binary or tt.Ternary",
    "threshold": "a firing stage provides it: add tt.Binary (under tt.Ternary use `for side in s.sides`)",
    "prev_output": "tt.Recurrent keeps it",
    "drive": "stages at place 'input' run before it exists: set `place = \"drive\"` or later",
    "potential": "the membrane provides it: set `place` to 'threshold' or later",
}


class MissingName(AttributeError):
    """A stage used a name that is not there."""


def positive_part(v: Tensor) -> Tensor:
    """Return `where(v >= 0, v, 0)`."""
    return torch.where(v >= 0, v, 0.0)


def negative_part(v: Tensor) -> Tensor:
    """Return `where(v <= 0, v, 0)`."""
    return torch.where(v <= 0, v, 0.0)


class Namespace:
    """All names of one time step: inputs, states, parameters and what stages derive from them."""

    def __init__(self, values: dict[str, Any], pairs: Collection[str], states: Collection[str], dual: bool,
                 sided: bool) -> None:
        vars(self).update(_values=values, _pairs=pairs, _states=states, _dual=dual, _sided=sided)

    # Made anew at each access: kept here, they would form cycles that hold a whole step's tensors until collected.

    @property
    def branches(self) -> Parts:
        """The traces that values are split into: one, or a positive and a negative one."""
        if self._dual:
            return Parts((Part(self, "pos_", positive_part), Part(self, "neg_", negative_part)))
        return Parts([Part(self)])

    @property
    def sides(self) -> Parts:
        """The directions of firing: one, or upwards and downwards."""
        return Parts(Part(self, prefix) for prefix in PAIR) if self._sided else Parts([Part(self)])

    def __getattr__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            raise MissingName(self._why_missing(name)) from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._pairs:
            raise MissingName(self._why_missing(name))
        self._values[name] = value

    def _why_missing(self, name: str) -> str:
        if name in self._pairs:
            return (f"`s.{name}` is a pair here (pos_{name}, neg_{name}): write "
                    f"`for b in s.branches: b.{name} ...` (or s.sides for what belongs to firing)")
        hint = HINTS.get(name, f"names at this point are {', '.join(sorted(self._values))}")
        return f"`s.{name}` does not exist: {hint}"


class Part:
    """One member of a pair, or the whole where nothing is split: `b.mem` is `s.pos_mem`, `s.neg_mem` or `s.mem`."""

    def __init__(self, names: Namespace, prefix: str = "", part: Callable[[Tensor], Tensor] | None = None) -> None:
        vars(self).update(_names=names, _prefix=prefix, _part=part)

    def part(self, v: Tensor) -> Tensor:
        """Return this branch's share of `v` by sign."""
        return v if self._part is None else self._part(v)

    def share(self, v: Tensor) -> Tensor:
        """Return an equal share of `v`: half of it under `Dual`."""
        return v if self._part is None else 0.5 * v

    def __getattr__(self, name: str) -> Any:
        values, full = self._names._values, self._prefix + name
        return values[full] if full in values else getattr(self._names, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if self._prefix and name in self._names._states:
            raise MissingName(f"`{name}` is one state for both parts of a pair: declare it with "
                              f"tt.State(split=True) to have one for each branch, or assign `s.{name}` once")
        setattr(self._names, self._prefix + name, value)


class Parts(tuple):
    """The members of a pair, or the one whole."""

    def total(self, name: str) -> Tensor:
        """Return the sum of `name` over the members."""
        first, *rest = (getattr(part, name) for part in self)
        return sum(rest, first)


class Steps(Protocol):
    """What computes one time step: a `Pipeline`, or one that is padded or led back to its input (`looped`)."""

    looped: bool
    stages: tuple[Stage, ...]
    states: dict[str, State]
    parameters: dict[str, Parameter]
    fires: bool
    names: tuple[str, ...]

    def __call__(self, x: Tensor, states: dict[str, Tensor], params: dict[str, Tensor],
                 fire: Callable[[Tensor], Tensor] | None) -> tuple[Tensor, dict[str, Tensor], dict[str, Any]]:
        """Return the output, the new states and every name at the end of the step."""

    def elementwise(self) -> Steps:
        """Return the part of the step that is elementwise: all of it but the matrix of a looped one."""


class Pipeline:
    """Ordered stages and the names they declare; calling it computes one time step.

    Attributes:
        stages: the stages in the order in which they run.
        states: declared states by full name (`pos_mem`, `neg_mem` under `Dual`).
        parameters: declared parameters by full name, in the order of the constructor's arguments.
        fires: whether there is a firing stage, hence `spike_fn` and `quant_fn`.
        names: every name at the end of a step.
    """

    names: tuple[str, ...] = ()
    looped = False

    def __init__(self, stages: tuple[Stage, ...]) -> None:
        self.stages = stages
        self.dual = any(isinstance(stage, Dual) for stage in stages)
        self.sided = any(stage.sided for stage in stages)
        self.fires = any(stage.place == "fire" for stage in stages)
        self._early = tuple(s for s in stages if PLACES.index(s.place) < PLACES.index("drive"))
        self._late = stages[len(self._early):]
        self._pairs: set[str] = {"drive"} if self.dual else set()
        self.states: dict[str, State] = {}
        self.parameters: dict[str, Parameter] = {}
        for stage in stages:
            for name, state in stage.states().items():
                self._declare(stage, name, state, self.dual and state.split, self.states)
        found: dict[str, Parameter] = {}
        for stage in stages:
            for name, value in stage.parameters().items():
                self._declare(stage, name, value, (self.dual and value.split) or (self.sided and value.sided), found)
        self.parameters = dict(sorted(found.items(), key=lambda item: item[1].order))

    def _declare(self, stage: Stage, name: str, what: Any, pair: bool, into: dict[str, Any]) -> None:
        taken = {"x", "drive", "potential", "shift", "spike", "output", "branches", "sides", "fire", *self._pairs}
        for full in [p + name for p in PAIR] if pair else [name]:
            if full in self.states or full in into or name in taken or full in taken:
                raise ValueError(f"{type(stage).__name__}: the name {full!r} is already taken in this composition; "
                                 "rename the declaration")
            into[full] = what
        if pair:
            self._pairs.add(name)

    def __call__(self, x: Tensor, states: dict[str, Tensor], params: dict[str, Tensor],
                 fire: Callable[[Tensor], Tensor] | None) -> tuple[Tensor, dict[str, Tensor], dict[str, Any]]:
        """Return the output, the new states and every name at the end of the step."""
        values: dict[str, Any] = {**params, **states, "x": x, "shift": 0.0}
        if fire is not None:
            values["fire"] = fire
        return self.run(values)

    def elementwise(self) -> Pipeline:
        """Return the pipeline: all of it is elementwise."""
        return self

    def run(self, values: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor], dict[str, Any]]:
        """Run the stages over names and their values; return the output, the new states and all of it."""
        s = Namespace(values, self._pairs, self.states, self.dual, self.sided)
        for stage in self._early:
            stage.step(s)
        for b in s.branches:
            b.drive = b.part(s.x)
        for stage in self._late:
            stage.step(s)
        for stage in self.stages:
            stage.after(s)
        return s.output, {name: values[name] for name in self.states}, values


@dataclass(eq=False)
class Step:
    """A pipeline bound to its callables: all that a backend needs to know of a layer.

    Calling it is one time step, elementwise in its tensors: `(x, states, params) -> (y, states, recordings)`,
    where `recordings` holds the value of each recorded name at the end of the step. `activations` lead from what a
    layer stores of its parameters to their values, `params`.
    """

    pipeline: Steps
    spike_fn: Callable[[Tensor], Tensor] | None
    quant_fn: Callable[[Tensor], Tensor] | None
    name: str
    activations: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)

    def elementwise(self) -> Step:
        """Return the part of the step that is elementwise; of one that is looped, x is the drive there."""
        return replace(self, pipeline=self.pipeline.elementwise()) if self.pipeline.looped else self

    def values(self, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the value of every parameter (shape [] or [num_neurons]) from what the layer stores of it."""
        activations = self.activations
        return {n: activations[n](raw) if n in activations else raw for n, raw in stored.items()}

    def __call__(self, x: Tensor, states: dict[str, Tensor], params: dict[str, Tensor],
                 record: tuple[str, ...] = ()) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        y, new, values = self.pipeline(x, states, params, self.fire if self.pipeline.fires else None)
        new = {name: _like(value, x, name) for name, value in new.items()}
        return _like(y, x, "output"), new, {name: _like(values[name], x, name) for name in record}

    def fire(self, v: Tensor) -> Tensor:
        """Return `quant_fn(spike_fn(v))`."""
        return self.quant_fn(self.spike_fn(v))  # type: ignore[misc]


def _like(value: Any, x: Tensor, name: str) -> Tensor:
    """Return `value` as a tensor of the step's shape: a stage may assign a number or a smaller tensor."""
    if not isinstance(value, Tensor):
        if not isinstance(value, (int, float)):
            raise TypeError(f"s.{name} holds a {type(value).__name__} at the end of a step; what a stage assigns to it "
                            "is one tensor of the step's shape, or a number")
        return torch.full_like(x, value)
    return value if value.shape == x.shape else value.expand(x.shape)
