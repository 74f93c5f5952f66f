"""Neuron: the layer behind every composed class; its pipeline says what one step computes."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .. import backends, current
from ..backends import Call, InGraph, Plan
from ..functional.random import Stream, new_key
from ..looped import BIAS, FED, WEIGHT, wrapped
from ..pipeline import Pipeline, States, Step
from . import html
from .layer import Layer, SpikingLayer, computed_by, precise

PLANS = 16
"""How many plans a layer keeps: one for each kind of call, such as training, evaluation and the last, smaller batch."""


class Plans(dict[tuple, Plan]):
    """The plans of a layer by what decides a call; a copy of the layer, parametrized or not, begins without any."""

    def __deepcopy__(self, memo: dict) -> Plans:
        return Plans()


class Neuron(SpikingLayer):
    """A layer of neurons composed from stages; `tt.compose` makes its subclasses."""

    optional_states = ("rng",)
    pipeline: ClassVar[Pipeline]
    stages: ClassVar[tuple]
    __signature__: ClassVar[inspect.Signature]
    _repr_html_ = html.Shown()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        given = self._bind(args, kwargs)
        super().__init__(given["num_neurons"], given["dim"])
        self._plans = Plans()
        for name in (*self.pipeline.states, "rng"):
            self._initialize_state(name)
        for name, declared in self.pipeline.parameters.items():
            self._register_declared(name, declared, given[name], given[f"{name}_rank"], given[f"learn_{name}"],
                                    given["dtype"], given["device"])
        if self.pipeline.fires:
            self._register_callables(given)

    def _bind(self, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Match the arguments with the signature of the composed class."""
        signature = type(self).__signature__
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            unknown = [k for k in kwargs if k not in signature.parameters]
            hint = f"; it takes {', '.join(signature.parameters)}" if unknown else ""
            raise TypeError(f"{self._where}: {error}{hint}") from None
        bound.apply_defaults()
        return bound.arguments

    def _register_callables(self, given: dict[str, Any]) -> None:
        for name in ("spike_fn", "quant_fn"):
            fn = given[name]
            if not callable(fn) or isinstance(fn, type):
                raise TypeError(f"{self._where}: {name} must be a function of one tensor or a module, got {fn!r}")
            if fn is type(self).__signature__.parameters[name].default:     # layers share no learnable slope
                fn = copy.deepcopy(fn)
                if isinstance(fn, nn.Module) and (given["dtype"] or given["device"]) is not None:
                    fn.to(device=given["device"], dtype=given["dtype"])
            setattr(self, name, fn)
        soft = [stage for stage in self.stages if stage.needs_hard_spikes]
        if soft and not makes_hard_spikes(self.bound_step()):
            raise ValueError(
                f"{self._where}: {soft[0]!r} asks whether a neuron has fired, but with "
                f"spike_fn={_shown(self.spike_fn)} and quant_fn={_shown(self.quant_fn)} no spike is ever exactly 0; "
                "give quant_fn=tt.functional.round_ste() or a spike_fn with hard spikes such as "
                "tt.functional.heavi_erfc(1.0)")

    def _to_raw(self, name: str, value: Tensor) -> Tensor:
        declared = self.pipeline.parameters[name]
        return declared.raw(f"{self._where}: {name}", precise(value)).to(value)

    def bound_step(self) -> Step:
        """Return the pipeline with this layer's callables."""
        activations = {} if self._compiled is not None else {name: fn for name, (fn, _) in self._transforms.items()}
        return Step(self.pipeline, self._callable("spike_fn"), self._callable("quant_fn"), self._where, activations)

    def _callable(self, name: str) -> Any:
        """Return a callable of the layer, past nn.Module.__getattr__."""
        held = self.__dict__
        return held[name] if name in held else held["_modules"].get(name)

    def constrained(self) -> dict[str, Tensor]:
        """Return every parameter's value (shape [] or [num_neurons]), by name."""
        return self.bound_step().values(self.stored())

    def stored(self, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        """Return what is stored of every parameter, in `dtype`: the raw tensor, or its value after `TTcompile`."""
        found = dict(zip(self._transforms, self._stored(), strict=True))
        return {name: t if dtype is None or t.dtype == dtype else t.to(dtype) for name, t in found.items()}

    def _stored(self) -> list[Tensor]:
        """Return the raw tensor of every parameter, or its value after `TTcompile`."""
        held = self.__dict__
        parameters, buffers = held["_parameters"], held["_buffers"]
        prefix = "raw_" if held["_compiled"] is None else ""
        found = []
        for name in held["_transforms"]:
            key = prefix + name
            held_here = parameters if key in parameters else buffers
            found.append(held_here[key] if key in held_here else self._computed(key))
        return found

    def _computed(self, key: str) -> Tensor:
        """Return a raw tensor that is no parameter: torch.nn.utils computes it, `prune` and old norms in a hook."""
        for hook in self._forward_pre_hooks.values():
            if computed_by(hook) == key:
                hook(self, None)
        return getattr(self, key)

    def dtypes(self, x: Tensor, path: Sequence[Tensor] = ()) -> tuple[torch.dtype, torch.dtype]:
        """Return the dtype of the output and the dtype in which steps are computed and states are kept.

        Args:
            x: an input.
            path: weight and bias through which the output is led back to the input.
        """
        if not isinstance(x, Tensor):
            raise TypeError(f"{self._where}: the input must be a tensor, got {type(x).__name__}")
        if not x.is_floating_point():
            raise TypeError(f"{self._where}: the input must be floating-point, got {x.dtype}; write x.float()")
        widest = x.dtype
        for stored in (*self._stored(), *path):
            widest = widest if stored.dtype == widest else torch.promote_types(widest, stored.dtype)
        autocast = not x.is_meta and torch.is_autocast_enabled(x.device.type)
        out = x.dtype if autocast else widest
        return out, torch.promote_types(widest, torch.float32)

    @property
    def fuses(self) -> bool:  # type: ignore[override]
        """Whether a step of this layer is its pipeline and nothing else."""
        cls = type(self)
        return (cls.forward is Neuron.forward and cls.step is Neuron.step and cls.__call__ is Layer.__call__
                and "forward" not in self.__dict__)

    @property
    def recordable(self) -> tuple[str, ...]:
        """The names whose values over time a scan can return."""
        return tuple(name for name in self.pipeline.names if name not in ("fire", "rng"))

    def start_of(self, name: str) -> float:
        """Return what a state is filled with at its first step."""
        return self.pipeline.states[name].init

    def step(self, x: Tensor, states: dict[str, Tensor | None] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute one time step as a pure function: nothing of the layer changes.

        Args:
            x: input of one step, any shape with `num_neurons` along `dim`.
            states: states by name, shaped like `x`; one that is missing or None starts anew.

        Returns:
            The output, shaped like `x`, and the new states, in the dtype of the computation.

        Raises:
            TypeError: `x` is no floating-point tensor.
            ValueError: input or states of another size or on another device, a state that the layer does not have.
        """
        self.dtypes(x)
        given = states or {}
        if not given.keys() <= set(self.state_names):
            raise self.unknown_state(given, self.state_names)
        y, new, _ = self.run(x, x.shape, given)
        return y, new

    def scan(self, x: Tensor, states: dict[str, Tensor | None], record: tuple[str, ...] = (),
             lengths: Tensor | None = None) -> tuple[Tensor, States, States]:
        """Run over [T, ...] from given states as a pure function; return output, new states and recordings."""
        return self.run(x, x.shape[1:], states, record, lengths)

    def forward(self, x: Tensor) -> Tensor:
        """Advance one time step, or all of them where `tt.scan` has folded time into the batch."""
        running = current.running()
        if running is not None:
            return running.scan(self, x)
        if not isinstance(x, Tensor):
            self.dtypes(x)
        return self.advance(x, x.shape)

    def advance(self, x: Tensor, shape: torch.Size) -> Tensor:
        """Run over x [T, *shape], or [*shape] for one step, and carry the states on."""
        y, new, _ = self.run(x, shape, self.__dict__)
        self.carry_states(new)
        return y

    def run(self, x: Tensor, shape: torch.Size, states: Mapping[str, Tensor | None], record: tuple[str, ...] = (),
            lengths: Tensor | None = None, path: Sequence[Tensor] = ()) -> tuple[Tensor, States, States]:
        """Run over x [T, *shape], or [*shape] for one step, from `states`, which may hold more; change nothing.

        Args:
            path: weight and bias through which the output is led back to the input (`tt.Feedback`); then the output
                is in the dtype of the computation.
        """
        stored = [*self._stored(), *path] if path else self._stored()
        names: Collection[str] = (*self.pipeline.states, FED) if path else self.pipeline.states
        plan = self._plan(x, shape, stored, record, lengths is not None)
        starts = [states.get(name) for name in names]
        if not plan.accepts(starts):
            starts = self._usable(names, starts, shape, x.device, plan.dtype)
        if lengths is not None:
            starts.append(_steps_left(lengths, shape, plan.dtype))
        key = states.get("rng")

        def rng() -> Tensor:
            nonlocal key
            if key is None:
                key = new_key().to(x.device)
            return key

        y, finals, recordings, _ = plan(x, starts, stored, rng)
        new = dict(zip(names, finals[: len(names)], strict=True))       # without the steps that are left
        if key is not None:
            new["rng"] = torch.stack([key[0], key[1] + (len(x) if x.ndim > len(shape) else 1)])
        return y, new, dict(zip(record, recordings, strict=True)) if record else {}

    def step_and_call(self, io: torch.dtype, device: torch.device, path: Sequence[Tensor] = ()) -> tuple[Step, Call]:
        """Return the step, and what else decides how a scan runs, for an input [T, num_neurons]."""
        stored = [*self._stored(), *path]
        x, shape = torch.empty(0, dtype=io, device=device), torch.Size((self.num_neurons,))
        return self._step_of(stored, False), self._call(x, shape, 0, stored)

    def _step_of(self, stored: Sequence[Tensor], padding: bool) -> Step:
        """Return the step: led back where more is stored than the neuron's own, and padded where that is wanted."""
        step, path = self.bound_step(), len(stored) - len(self._transforms)
        return replace(step, pipeline=wrapped(step.pipeline, path, padding)) if path or padding else step

    def _plan(self, x: Tensor, shape: torch.Size, stored: list[Tensor], record: tuple[str, ...] = (),
              padding: bool = False) -> Plan | InGraph:
        """Return the plan for such a call, from an earlier one where nothing that decides it has changed."""
        if torch.compiler.is_compiling():
            call = self._call(x, shape, self._check_step(shape), stored, record)
            return backends.InGraph(self.bound_step(), call, (len(stored) - len(self._transforms), padding))
        held = self.__dict__
        key = (
            x.dtype, x.device, shape, record, padding, backends.conditions(x), held["dim"], held["num_neurons"],
            held["_compiled"] is None, id(self._callable("spike_fn")), id(self._callable("quant_fn")),
            *[t.dtype for t in stored], *[t.shape for t in stored],
        )
        plans = held["_plans"]
        plan = plans.get(key)
        if plan is None or not plan.is_current():
            call = self._call(x, shape, self._check_step(shape), stored, record)
            plan = plans[key] = backends.bind(self._step_of(stored, padding), call)
            if len(plans) > PLANS:
                plans.pop(next(iter(list(plans))), None)
        return plan

    def _call(self, x: Tensor, shape: torch.Size, dim: int, stored: list[Tensor],
              record: tuple[str, ...] = ()) -> Call:
        """Return what else decides how such a call runs, or raise where a parameter has lost its shape."""
        own = len(self._transforms)
        for name, t in zip(self.pipeline.parameters, stored[:own], strict=True):
            if tuple(t.shape) not in ((), (self.num_neurons,)):
                raise ValueError(f"{self._where}: what is stored of {name} has shape {list(t.shape)}; it must have "
                                 f"[] or [{self.num_neurons}] (num_neurons)")
        names = [*self.pipeline.parameters, WEIGHT, BIAS][: len(stored)]
        ranks = dict(zip(names, [t.ndim for t in stored], strict=True))
        out, dtype = self.dtypes(x, stored[own:])
        converts = any(t.dtype is not dtype for t in stored)
        return Call(x.device, shape, dim, dtype if stored[own:] else out, dtype, ranks, record, converts)

    def _check_step(self, shape: torch.Size) -> int:
        """Return the neuron dimension of one step's shape, or raise where it has another number of neurons."""
        axis = self._axis(len(shape))
        if shape[axis] != self.num_neurons:
            raise ValueError(f"{self._where}: one step has {shape[axis]} elements along dim={self.dim} "
                             f"(shape {list(shape)}), expected num_neurons={self.num_neurons}")
        return axis

    def _usable(self, names: Collection[str], starts: list[Tensor | None], shape: torch.Size, device: torch.device,
                dtype: torch.dtype) -> list[Tensor | None]:
        """Return the start states in the dtype of the computation, or raise where one does not fit."""
        for name, state in zip(names, starts, strict=True):
            if state is not None:
                self._check_state(name, state, tuple(shape), device)
        return [_usable(state, dtype) for state in starts]

    def __getstate__(self) -> dict[str, Any]:
        """Copy and pickle without plans, which belong to this process."""
        return {**super().__getstate__(), "_plans": Plans()}


def _steps_left(lengths: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """Return how many steps each element has left [*shape], for lengths [B]."""
    return lengths.to(dtype).view(-1, *[1] * (len(shape) - 1)).expand(shape).contiguous()


def _usable(state: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Return a state in the dtype of the computation; one born in inference mode is copied out of it."""
    if state is None:
        return None
    if not torch.compiler.is_compiling() and state.is_inference() and not torch.is_inference_mode_enabled():
        state = state.clone()
    return state if state.dtype == dtype else state.to(dtype)


def _shown(fn: Any) -> str:
    """Name a callable in a message."""
    return getattr(fn, "__name__", repr(fn))


def makes_hard_spikes(step: Step) -> bool:
    """Say whether some potential below threshold gives exactly no spike."""
    probe = torch.linspace(-2.0, -0.05, 40)
    callables = nn.ModuleList(f for f in (step.spike_fn, step.quant_fn) if isinstance(f, nn.Module))
    for tensor in callables.parameters():
        probe = probe.to(tensor.device)
    with torch.no_grad(), Stream(torch.zeros(2, dtype=torch.int64), probe.shape):
        try:
            return bool((step.fire(probe) == 0).any())
        except RuntimeError:      # per-neuron parameters do not broadcast against the probe: the step will tell
            return True
