"""compose: order and check stages, and make the class of neurons that they describe."""

from __future__ import annotations

import copyreg
import difflib
import inspect
import keyword
import sys
import warnings
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import nn

from ..functional.spike import sigmoid4x
from ..fusion.blame import here
from ..pipeline import MissingName, Pipeline, Step
from ..stages import PLACES, Leaky, Reset, Scaled, Stage, Ternary
from ..stages.base import exact
from .describe import docstring
from .neuron import Neuron

ALONE = ("rule", "membrane", "fire", "reset")
"""Places that hold one stage at most."""
_IDENTITY = nn.Identity()
_classes: WeakValueDictionary[tuple, type[Neuron]] = WeakValueDictionary()
_names: WeakValueDictionary[str, type[Neuron]] = WeakValueDictionary()


class NeuronType(type(Neuron)):  # type: ignore[misc]
    """The type of composed classes: they pickle by their recipe."""

    def __repr__(cls) -> str:
        composed = "stages" in vars(cls)
        return f"<neuron {cls.__name__}: {', '.join(map(repr, cls.stages))}>" if composed else super().__repr__()


def _reduce(cls: type[Neuron]) -> Any:
    """Pickle a composed class by its recipe, a ready-made one or a subclass in a module by its name."""
    ready_made = getattr(sys.modules.get(cls.__module__), cls.__qualname__, None) is cls
    return cls.__qualname__ if ready_made or "_recipe" not in vars(cls) else (_rebuild, vars(cls)["_recipe"])


def _rebuild(stages: tuple[Stage, ...], defaults: tuple, name: str | None) -> type[Neuron]:
    return compose(*stages, defaults=dict(defaults), name=name)


copyreg.pickle(NeuronType, _reduce)


def compose(*named: type[Stage] | Stage, defaults: dict[str, Any] | None = None,
            name: str | None = None) -> type[Neuron]:
    """Return the class of neurons that a set of stages describes: an `nn.Module` class named after them.

        tt.compose(tt.Dual, tt.Synaptic, tt.Ternary) is tt.snn.DSLIT

    Stages run in the order of their places, input < drive < membrane < threshold < fire < gate < reset < output,
    within a place as they are named. A leaky membrane and, where the neuron fires, a subtracting reset are added
    if none is named; `Scaled` alone means `Ternary` as well. The same stages give the same class object.

    Args:
        named: stage classes, or instances where a stage is configured (`tt.Reset("zero")`).
        defaults: other defaults for arguments of the constructor, such as `dict(beta=0.95)`.
        name: name of the class; without it the name follows from the stages (Dual, Synaptic, Ternary: DSLIT).

    Raises:
        TypeError: something is no stage.
        ValueError: stages that contradict each other, a stage that reads what is not there, a name or default
            that can't be.
    """
    stages = _ordered(named)
    overrides = tuple(sorted((defaults or {}).items()))
    try:
        known = _classes.get((stages, exact(overrides), name))
    except TypeError:
        raise TypeError("tt.compose: the configuration of stages and `defaults` must be plain values (numbers, "
                        f"strings, functions), got {[*stages, *overrides]}") from None
    return known or _create(stages, overrides, name)


def _ordered(named: tuple) -> tuple[Stage, ...]:
    """Return instances in the order of their places, with what is implied added."""
    stages: list[Stage] = []
    for one in named:
        stage = one() if isinstance(one, type) and issubclass(one, Stage) else one
        if not isinstance(stage, Stage):
            raise TypeError(f"tt.compose takes stages such as tt.Dual or tt.Reset('zero'), got {one!r}")
        if any(type(stage) is type(other) for other in stages):
            raise ValueError(f"tt.compose: {type(stage).__name__} is named twice; name it once")
        stages.append(stage)
    places = [stage.place for stage in stages]
    for place in ALONE:
        rivals = [type(s).__name__ for s in stages if s.place == place]
        if len(rivals) > 1:
            raise ValueError(f"tt.compose: {' and '.join(rivals)} exclude each other (a neuron has one stage at "
                             f"place {place!r}); name one of them")
    if "fire" not in places and any(isinstance(stage, Scaled) for stage in stages):
        stages.append(Ternary())
        places.append("fire")
    if "reset" in places and "fire" not in places:
        raise ValueError(f"tt.compose: {stages[places.index('reset')]!r} needs spikes to reset by: add tt.Binary or "
                         "tt.Ternary, or leave it out")
    if "membrane" not in places:
        stages.append(Leaky())
    if "fire" in places and "reset" not in places:
        stages.append(Reset())
    return tuple(sorted(stages, key=lambda stage: PLACES.index(stage.place)))


def _create(stages: tuple[Stage, ...], overrides: tuple, name: str | None) -> type[Neuron]:
    recipe = (stages, overrides, name)
    pipeline = Pipeline(stages)
    _rehearse(pipeline)
    title = _title(stages, overrides) if name is None else name
    _check_name(title, recipe)
    signature = _signature(title, pipeline, dict(overrides))

    def __init__(self: Neuron, *args: Any, **kwargs: Any) -> None:
        Neuron.__init__(self, *args, **kwargs)

    me = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    __init__.__signature__ = signature.replace(parameters=[me, *signature.parameters.values()])  # type: ignore[attr-defined]
    cls = NeuronType(title, (Neuron,), {
        "__module__": "tracetorch.snn", "__init__": __init__, "__signature__": signature, "pipeline": pipeline,
        "stages": stages, "_recipe": recipe, "__doc__": docstring(title, pipeline, signature)})
    _classes[stages, exact(overrides), name] = cls
    _names[title] = cls
    return cls


class _Noted(dict):
    """The names of a step, and which of them are assigned and read."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.assigned: set[str] = set()
        self.read: set[str] = set()
        self.lines: dict[str, str] = {}
        """Where something was assigned that a name can't hold."""

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)

    def __setitem__(self, name: str, value: Any) -> None:
        self.assigned.add(name)
        if not isinstance(value, (torch.Tensor, int, float)):
            self.lines[name] = here()
        super().__setitem__(name, value)


def _rehearse(pipeline: Pipeline) -> None:
    """Run one step on small tensors: every stage must find the names that it reads, and assign what a step may hold."""
    values = _Noted({name: torch.full((2,), float(p.default)) for name, p in pipeline.parameters.items()})
    values.update({name: torch.full((2,), state.init) for name, state in pipeline.states.items()})
    values.update(x=torch.zeros(2), shift=0.0)
    if pipeline.fires:
        values["fire"] = Step(pipeline, sigmoid4x, _IDENTITY, "").fire
    known = {*values, "drive", "potential", "spike", "output", "threshold"}
    values.assigned.clear()
    try:
        with torch.no_grad():
            pipeline.run(values)
    except MissingName as error:
        stage = _culprit(error, pipeline.stages)
        raise ValueError(f"tt.compose: {stage} can't run in this composition: {error}") from None
    for name in (*pipeline.states, "output"):
        value = dict.__getitem__(values, name)
        if not isinstance(value, (torch.Tensor, int, float)):
            raise ValueError(f"tt.compose: {values.lines[name]}assigns a {type(value).__name__} to s.{name}, which "
                             "holds one tensor of the step's shape; declare one tt.State for each part")
    pipeline.names = tuple(values)
    _warn_of_slips(pipeline, values.assigned - values.read - known, known)


def _warn_of_slips(pipeline: Pipeline, unread: set[str], known: set[str]) -> None:
    """Warn of names that are assigned, never read, and look like another one."""
    for name in sorted(unread):
        near = difflib.get_close_matches(name, known - {name}, 1, 0.7)
        if near:
            warnings.warn(f"tt.compose: s.{name} is assigned and nothing reads it; is s.{near[0]} meant? "
                          f"(stages: {', '.join(type(s).__name__ for s in pipeline.stages)})", stacklevel=4)


def _culprit(error: BaseException, stages: tuple[Stage, ...]) -> str:
    """Name the stage whose code raised."""
    trace = error.__traceback__
    found = "a stage"
    while trace is not None:
        owner = trace.tb_frame.f_locals.get("self")
        if any(owner is stage for stage in stages):
            found = type(owner).__name__
        trace = trace.tb_next
    return found


def _title(stages: tuple[Stage, ...], overrides: tuple) -> str:
    """Name a composition by the rule of the 32 classes; what the rule does not cover is appended."""
    letters, rest = "", ""
    for stage in stages:
        if stage.symbol is not None and not stage.changes():
            letters += stage.symbol
        elif stage.place == "membrane":
            letters += stage.label
        elif stage != Reset():
            letters += stage.symbol or ""
            rest += f"_{stage.label}"
    rest += "".join(f"_{key}_{value}" for key, value in overrides)
    return letters + "".join(c if c.isalnum() or c == "_" else "_" for c in rest)


def _check_name(title: str, recipe: tuple) -> None:
    """Two different classes never share a name; a class whose stages were defined anew replaces the old one."""
    if not title.isidentifier() or keyword.iskeyword(title):
        raise ValueError(f"tt.compose: {title!r} can't name a class; pass name= with letters, digits and underscores")
    taken = _names.get(title)
    if taken is not None and vars(taken)["_recipe"][2] is None and not _redefined(taken.stages, recipe[0]):
        raise ValueError(f"tt.compose: {title} is already the name of the composition of "
                         f"{', '.join(map(repr, taken.stages))}; pass another name=")


def _redefined(old: tuple[Stage, ...], new: tuple[Stage, ...]) -> bool:
    """Say whether the stages are the same by name, as after running a notebook cell again."""
    def names(stages: tuple[Stage, ...]) -> list:
        return [(type(s).__module__, type(s).__qualname__, vars(s)) for s in stages]
    return names(old) == names(new)


def _signature(title: str, pipeline: Pipeline, overrides: dict[str, Any]) -> inspect.Signature:
    """Return the constructor's signature: values, dim, ranks, learn flags, callables, device and dtype."""
    by_option = sorted(pipeline.parameters, key=lambda name: pipeline.parameters[name].option_order)
    entries: list[tuple[str, Any, Any]] = [(n, p.default, "float | Tensor") for n, p in pipeline.parameters.items()]
    entries.append(("dim", -1, int))
    entries += [(f"{name}_rank", 1, int) for name in by_option]
    entries += [(f"learn_{name}", True, bool) for name in by_option]
    if pipeline.fires:
        entries += [("spike_fn", sigmoid4x, "Callable[[Tensor], Tensor]"),
                    ("quant_fn", _IDENTITY, "Callable[[Tensor], Tensor]")]
    entries += [("device", None, "torch.device | str | None"), ("dtype", None, "torch.dtype | None")]
    unknown = [key for key in overrides if key not in {entry[0] for entry in entries}]
    if unknown:
        raise ValueError(f"tt.compose: {title} has no argument {unknown[0]!r} to give a default; "
                         f"it takes {', '.join(entry[0] for entry in entries)}")
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    first = inspect.Parameter("num_neurons", kind, annotation=int)
    return inspect.Signature([first, *(
        inspect.Parameter(key, kind, default=overrides.get(key, value), annotation=note)
        for key, value, note in entries)])
