"""A plan: how the scans of one step run, decided once and good for as long as what decides it stays the same."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ..fusion.blame import users_level
from ..fusion.cache import witness
from ..fusion.callables import as_parameters, lifted, why_not_lifted
from ..looped import BIAS, WEIGHT, wrapped
from ..pipeline import Step
from ..stages.parameters import identity
from . import choose, differentiable, eager
from .program import Program, Refused, Scanned, Shape, shape_of
from .values import Activation, Values, copied

NO_TRANSFORMS = "a fused scan has no vmap, no forward-mode and no torch.func derivatives"
_warned: set[tuple[str, str]] = set()
_any_autocast, _transforms = torch._C._is_any_autocast_enabled, torch._C._are_functorch_transforms_active


class Call(NamedTuple):
    """What decides, besides the step, how it is scanned.

    device: of the input. shape: of one time step. dim: its neuron dimension, from the front. io, dtype: of input and
    output, and of the computation. ranks: how many dimensions each stored parameter has, by name. record: what is
    recorded. converts: whether something that is stored has another dtype than the computation.
    """

    device: torch.device
    shape: torch.Size
    dim: int
    io: torch.dtype
    dtype: torch.dtype
    ranks: Mapping[str, int]
    record: tuple[str, ...] = ()
    converts: bool = True


class Plan:
    """Scans of one step by calls of one kind: by a program or, where there is none, in eager.

    Attributes:
        step, call: what was decided for.
        backend: "cpp", "triton" or "eager".
        why_not: for each backend that fuses and could have been chosen, why it does not run here.
        program: what runs; None in eager.
    """

    def __init__(self, step: Step, call: Call, backend: str, why_not: dict[str, str], program: Program | None) -> None:
        self.step, self.call, self.backend, self.why_not, self.program = step, call, backend, why_not, program
        self.device, self.io, self.dtype = call.device, call.io, call.dtype
        self.shape, self.ndim = shape_of(1, call.shape, call.dim), len(call.shape)
        self._last = self.shape
        self._made_of = witness(step) if choose.requested() != "eager" else None
        self._eager_anyway = choose.requested() == "eager"
        self._differentiable: bool | None = None    # not known before the first gradient is wanted
        if program is None:
            return
        inside = program.activations
        found = [step.activations.get(name) for name in program.parameters]
        outside = [None if i or a is identity else a for a, i in zip(found, inside, strict=True)]
        self._outside = outside if any(outside) else None
        own = set() if program.same is None else set(step.pipeline.parameters) - {WEIGHT, BIAS}
        self._values = Values([i or (copied if name in own and o is None else None)
                               for name, i, o in zip(program.parameters, inside, outside, strict=True)], program.same)
        given = tuple(step.pipeline.parameters)
        every = (*given, *lifted(step))
        self._order = None if program.parameters == given else [every.index(n) for n in program.parameters]

    def is_current(self) -> bool:
        """Say whether the step is still made of what it was made of; never where that can't be known."""
        if self._made_of is None:
            return self._eager_anyway
        if not self._made_of.holds():
            now = witness(self.step)
            if now is None or now.token != self._made_of.token:
                return False
            self._made_of = now
        return True

    def accepts(self, starts: Sequence[Tensor | None]) -> bool:
        """Say whether start states can be taken as they are."""
        for start in starts:
            if start is not None and (
                start.dtype is not self.dtype or start.shape != self.shape.step or start.device != self.device
                or (start.is_inference() and not torch.is_inference_mode_enabled())
            ):
                return False
        return True

    def _over(self, steps: int) -> Shape:
        """Return the shape of so many steps; the same object where it is as in the call before."""
        last = self._last
        if steps != last.T:
            last = self._last = self.shape._replace(T=steps)
        return last

    def __call__(self, x: Tensor, starts: Sequence[Tensor | None], stored: Sequence[Tensor],
                 rng: Callable[[], Tensor]) -> Scanned:
        """Scan x [T, *step], or [*step] for one time step.

        Args:
            starts: the states, in the order of the pipeline; None starts anew.
            stored: what a layer stores of the pipeline's parameters, in their order.
            rng: makes the int64 pair (seed, position of the first step), called only where random numbers are drawn.
        """
        program, dtype = self.program, self.dtype
        x = x if x.dtype is self.io else x.to(self.io)
        if self.call.converts:
            stored = [t.to(dtype) for t in stored]
        if program is None:
            return eager.scan(self.step, self.call, x, starts, stored, rng)
        taken = stored
        if self._order is not None:
            every = [*stored, *as_parameters(self.step, dtype).values()]
            taken = [every[i] for i in self._order]
        shape = self.shape if x.ndim == self.ndim else self._over(len(x))
        if not x.is_contiguous():
            shape, x = program.lay(shape, self.call.dim, x)
        key = rng() if program.draws else None
        given = taken if self._outside is None else _apply(self._outside, taken)
        if torch.is_grad_enabled() and wanted((x, *starts, *given)):
            if self._differentiable is None:
                self._differentiable = self._prepare(program, x, given)
            if not self._differentiable:
                return eager.scan(self.step, self.call, x, starts, stored, rng)
            y, *rest = differentiable.Scan.apply(program, self._values, shape, key, x, *starts, *given)
            count = len(program.states)
            return Scanned(y, rest[:count], rest[count:])
        return program.forward(shape, x, starts, self._values(given), key, False)

    def _prepare(self, program: Program, x: Tensor, given: Sequence[Tensor]) -> bool:
        """Make backward ready while there is another way: say whether that worked, raise where none is allowed."""
        try:
            program.prepare(x.requires_grad, tuple([t.requires_grad for t in given]))
        except RuntimeError as error:
            _fall_back(self.backend, self.step, f"there is no kernel for its backward pass: {error}")
            return False
        return True


def wanted(tensors: Sequence[Tensor | None]) -> bool:
    """Say whether the gradient of any tensor is wanted."""
    for t in tensors:       # noqa: SIM110  # a generator takes three times as long
        if t is not None and t.requires_grad:
            return True
    return False


def _apply(activations: Sequence[Activation | None], stored: Sequence[Tensor]) -> list[Tensor]:
    return [p if a is None else a(p) for a, p in zip(activations, stored, strict=True)]


def conditions(x: Tensor) -> tuple:
    """Return what surrounds a call and decides how it runs."""
    transformed = _transforms() or forward_ad._current_level >= 0
    autocast = _any_autocast() and not x.is_meta and torch.is_autocast_enabled(x.device.type)
    return choose.requested(), autocast, torch.get_default_dtype(), transformed


def bind(step: Step, call: Call) -> Plan:
    """Decide how to scan a step.

    Raises:
        RuntimeError: the requested backend can't run it; the message says why.
    """
    plan, device = decide(step, call), call.device.type
    if choose.requested() == "auto" and device not in (*choose.FUSED, "meta"):
        say_once(f"Every layer on {device}", "kernels are made for the CPU and for CUDA alone. A small network may be "
                 "faster on the CPU: model.cpu()")
    for name, reason in plan.why_not.items():
        _fall_back(name, step, reason)
    return plan


def decide(step: Step, call: Call) -> Plan:
    """Return the plan that `bind` returns, without a word where it has to fall back."""
    backend, program, why_not = "eager", None, {}
    for name in candidates(call.device.type):
        try:
            backend, program = name, fused(name, step, call)
        except Refused as error:
            backend, why_not[name] = "eager", str(error)
    return Plan(step, call, backend, why_not, program)


def candidates(device: str) -> list[str]:
    """Return the backend that may fuse on a type of device, as far as it is asked for."""
    name = choose.requested()
    if name == "auto":
        return [choose.FUSED[device]] if device in choose.FUSED else []
    return [] if name == "eager" else [name]


def fused(name: str, step: Step, call: Call) -> Program:
    """Return the program by which a backend runs a step; raises Refused."""
    try:
        backend = choose.load(name)
    except ImportError as error:
        raise Refused(str(error)) from None
    transformed = torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
    reason = (backend.why_not_here(call.device, call.io) or (NO_TRANSFORMS if transformed else None)
              or why_not_lifted(step, call.shape, call.dim))
    if reason is not None:
        raise Refused(reason)
    ranks = {**call.ranks, **{n: int(t.numel() != 1) for n, t in lifted(step).items()}}
    return backend.program_of(step, call.dtype, call.io, ranks, call.record)


def _fall_back(name: str, step: Step, reason: str) -> None:
    """Warn once that a step runs in eager, or raise where the backend was asked for by name."""
    if choose.requested() == name:
        raise RuntimeError(f"backend={name!r} can't run {step.name}: {reason}. Use backend='auto' or 'eager'")
    say_once(step.name, reason)


def say_once(name: str, reason: str) -> None:
    """Warn that a layer is stepped, once for each reason."""
    if (name, reason) not in _warned:
        _warned.add((name, reason))
        level = 2 if torch.compiler.is_compiling() else users_level()
        warnings.warn(f"{name} is scanned step by step in Python: {reason}", stacklevel=level)


def _exporting() -> bool:
    """Say whether a program is being exported, which holds no kernel of ours."""
    return torch.compiler.is_exporting()


# else PyTorch 2.8 takes every compilation for an export
_exporting._dynamo_marked_constant = True   # type: ignore[attr-defined]


TRACES = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 12)
TOO_OLD = ("tt.scan inside of torch.compile(fullgraph=True) needs PyTorch 2.12 or newer, and this is "
           f"{torch.__version__}: leave fullgraph=True out, and the scan runs between two graphs")


class InGraph:
    """What stands for a plan while torch.compile traces, which keeps none: one operator where a backend fuses.

    A graph names its step by a key. What the step's callables hold is looked at when the operator runs. `wrap` says how
    the step's pipeline is led back and padded (see `looped.wrapped`): the compiler makes no object of it in a graph.
    """

    def __init__(self, step: Step, call: Call, wrap: tuple[int, bool] = (0, False)) -> None:
        self.step, self.call, self.dtype, self.wrap = step, call, call.dtype, wrap

    def accepts(self, starts: Sequence[Tensor | None]) -> bool:
        """Return False: start states are looked at one by one."""
        return False

    def __call__(self, x: Tensor, starts: Sequence[Tensor | None], stored: Sequence[Tensor],
                 rng: Callable[[], Tensor]) -> Scanned:
        """Scan as a plan does."""
        if x.ndim > len(self.call.shape):
            return self._scan(x, starts, stored, rng)
        y, finals, recordings, _ = self._scan(x[None], starts, stored, rng)
        return Scanned(y[0], finals, recordings)

    def _scan(self, x: Tensor, starts: Sequence[Tensor | None], stored: Sequence[Tensor],
              rng: Callable[[], Tensor]) -> Scanned:
        step, call, dtype, pipeline = self.step, self.call, self.dtype, self.step.pipeline
        x, stored = x.to(call.io), [t.to(dtype) for t in stored]
        if not (TRACES or _exporting()):
            raise RuntimeError(TOO_OLD)
        for name in [] if _exporting() else candidates(x.device.type):
            free = list(as_parameters(step, dtype).values())
            key, reason, draws, order = differentiable.enter(
                pipeline, self.wrap, step.spike_fn, step.quant_fn, step.name, name, dtype, x.dtype,
                tuple([p.ndim for p in (*stored, *free)]), call.record)
            if reason is not None:
                _fall_back(name, step, reason)
                continue
            own = len(pipeline.parameters)
            values = step.values(dict(zip(pipeline.parameters, stored[:own], strict=True)))
            every = [*values.values(), *stored[own:], *free]
            given = [every[i] for i in order]
            fresh = all(s is None for s in starts)
            inits = [*[state.init for state in pipeline.states.values()], *[0.0] * len(starts)][: len(starts)]
            begin = [x.new_full(call.shape, init, dtype=dtype) if s is None else s
                     for s, init in zip(starts, inits, strict=True)]
            keep = torch.is_grad_enabled() and wanted((x, *begin, *given))
            pair = rng() if draws else None
            y, *rest = torch.ops.tracetorch.scan.default(x, [] if fresh else begin, given, pair, key, call.dim, keep)
            count = len(starts)
            return Scanned(y, rest[:count], rest[count:-1])
        step = replace(step, pipeline=wrapped(pipeline, *self.wrap))
        return eager.scan(step, call, x, starts, stored, rng)
