"""A plan: how the scans of one step run, decided once and good for as long as what decides it stays the same."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ..fusion.callables import as_parameters, lifted, why_not_lifted
from ..pipeline import Step
from ..stages.parameters import identity
from . import choose, differentiable, eager
from .program import Program, Refused, Scanned, Shape, shape_of

Activation = Callable[[Tensor], Tensor]
NO_TRANSFORMS = "a fused scan has no vmap, no forward-mode and no torch.func derivatives"
_warned: set[tuple[str, str]] = set()


@dataclass(eq=False)
class Plan:
    """Scans of one step over inputs of one kind: by a program or, where there is none, in eager.

    Attributes:
        step: the step with its callables.
        ndim, dim: how many dimensions one time step has, and which of them the neurons.
        shape: the layout of one time step.
        record: names of what is recorded.
        backend: "cpp", "triton" or "eager".
        why_not: for each backend that fuses and could have been chosen, why it does not run here.
        program: what runs; None in eager.
    """

    step: Step
    ndim: int
    dim: int
    shape: Shape
    record: tuple[str, ...]
    backend: str
    why_not: dict[str, str]
    program: Program | None = None

    def __post_init__(self) -> None:
        program = self.program
        if program is None:
            return
        found = [self.step.activations.get(name) for name in program.parameters]
        self._activations = [None if a is identity else a for a in found]
        inside = program.activations
        self._outside = [None if i else a for a, i in zip(self._activations, inside, strict=True)]
        own = tuple(self.step.pipeline.parameters)
        self._order = None if program.parameters == own else [(*own, *lifted(self.step)).index(n)
                                                              for n in program.parameters]

    def __call__(self, x: Tensor, starts: Sequence[Tensor | None], stored: Sequence[Tensor],
                 rng: Callable[[], Tensor]) -> Scanned:
        """Scan x [T, *step], or [*step] for one time step.

        Args:
            x: in the dtype of the output.
            starts: the states, in the order of the pipeline; None starts anew.
            stored: what a layer stores of the pipeline's parameters, in the dtype of the computation.
            rng: makes the int64 pair (seed, position of the first step), called only where random numbers are drawn.
        """
        program = self.program
        if program is None:
            return eager.scan(self.step, x, starts, stored, dim=self.dim, ndim=self.ndim, rng=rng, record=self.record)
        if self._order is not None:
            every = [*stored, *as_parameters(self.step, program.dtype).values()]
            stored = [every[i] for i in self._order]
        steps = len(x) if x.ndim > self.ndim else 1
        shape = self.shape if steps == self.shape.T else self.shape._replace(T=steps)
        key = rng() if program.draws else None
        if torch.is_grad_enabled() and wanted((x, *starts, *stored)):
            y, *rest = differentiable.Scan.apply(program, shape, key, x, *starts, *_apply(self._outside, stored))
            count = len(program.states)
            return Scanned(y, rest[:count], rest[count:])
        return program.forward(shape, x, starts, _apply(self._activations, stored), key, False)


def wanted(tensors: Sequence[Tensor | None]) -> bool:
    """Say whether the gradient of any tensor is wanted."""
    for t in tensors:       # noqa: SIM110  # a generator takes three times as long
        if t is not None and t.requires_grad:
            return True
    return False


def _apply(activations: Sequence[Activation | None], stored: Sequence[Tensor]) -> list[Tensor]:
    return [p if a is None else a(p) for a, p in zip(activations, stored, strict=True)]


def bind(step: Step, x: Tensor, stored: Sequence[Tensor], record: tuple[str, ...], dim: int) -> Plan:
    """Decide how to scan x [T, *step shape] and others like it; see `Plan` for the arguments.

    Raises:
        RuntimeError: the requested backend can't run it; the message says why.
    """
    plan = decide(step, x, stored, record, dim)
    for name, reason in plan.why_not.items():
        _fall_back(name, step, reason)
    return plan


def decide(step: Step, x: Tensor, stored: Sequence[Tensor], record: tuple[str, ...], dim: int) -> Plan:
    """Return the plan that `bind` returns, without a word where it has to fall back."""
    backend, program, why_not = "eager", None, {}
    for name in candidates(x.device.type):
        try:
            backend, program = name, fused(name, step, x, stored, record, dim)
        except Refused as error:
            backend, why_not[name] = "eager", str(error)
    return Plan(step, x.ndim - 1, dim, shape_of(1, x.shape[1:], dim), record, backend, why_not, program)


def fused(name: str, step: Step, x: Tensor, stored: Sequence[Tensor], record: tuple[str, ...], dim: int) -> Program:
    """Return the program by which a backend runs a step; raises Refused."""
    try:
        backend = choose.load(name)
    except ImportError as error:
        raise Refused(str(error)) from None
    transformed = torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
    reason = (backend.why_not_here(x) or (NO_TRANSFORMS if transformed else None)
              or why_not_lifted(step, x.shape[1:], dim))
    if reason is not None:
        raise Refused(reason)
    ranks = {n: p.ndim for n, p in zip(step.pipeline.parameters, stored, strict=True)}
    ranks |= {n: int(t.numel() != 1) for n, t in lifted(step).items()}
    return backend.program(step, compute_dtype(x, stored), x.dtype, ranks, record)


def candidates(device: str) -> list[str]:
    """Return the backend that may fuse on a type of device, as far as it is asked for."""
    name = choose.requested()
    if name == "auto":
        return [choose.FUSED[device]] if device in choose.FUSED else []
    return [] if name == "eager" else [name]


def compute_dtype(x: Tensor, stored: Sequence[Tensor]) -> torch.dtype:
    """Return the dtype of the computation: that of what is stored of the parameters."""
    return stored[0].dtype if stored else torch.promote_types(x.dtype, torch.float32)


def _fall_back(name: str, step: Step, reason: str) -> None:
    """Warn once that a step runs in eager, or raise where the backend was asked for by name."""
    if choose.requested() == name:
        raise RuntimeError(f"backend={name!r} can't run {step.name}: {reason}. Use backend='auto' or 'eager'")
    if (step.name, reason) not in _warned:
        _warned.add((step.name, reason))
        warnings.warn(f"{step.name} is scanned step by step in Python: {reason}", stacklevel=2)


def scan_in_graph(step: Step, x: Tensor, starts: Sequence[Tensor | None], stored: Sequence[Tensor], *, dim: int,
                  rng: Callable[[], Tensor], record: tuple[str, ...]) -> Scanned:
    """Scan while torch.compile traces: as one operator where a backend fuses, else step by step.

    A graph names its step by a key. What the step's callables hold is looked at when the operator runs.
    """
    dtype, pipeline = compute_dtype(x, stored), step.pipeline
    for name in [] if torch.compiler.is_exporting() else candidates(x.device.type):   # exported: no kernel of ours
        ranks = tuple([p.ndim for p in (*stored, *as_parameters(step, dtype).values())])
        key, reason, draws, order = differentiable.enter(
            pipeline, step.spike_fn, step.quant_fn, step.name, name, dtype, x.dtype, ranks, record)
        if reason is None:
            values = step.values(dict(zip(pipeline.parameters, stored, strict=True)))
            every = [*values.values(), *as_parameters(step, dtype).values()]
            given = [every[i] for i in order]
            fresh = all(s is None for s in starts)
            begin = [x.new_full(x.shape[1:], state.init, dtype=dtype) if s is None else s
                     for s, state in zip(starts, pipeline.states.values(), strict=True)]
            keep = torch.is_grad_enabled() and wanted((x, *begin, *given))
            pair = rng() if draws else None
            y, *rest = torch.ops.tracetorch.scan.default(x, [] if fresh else begin, given, pair, key, dim, keep)
            count = len(pipeline.states)
            return Scanned(y, rest[:count], rest[count:-1])
        _fall_back(name, step, reason)
    return eager.scan(step, x, starts, stored, dim=dim, ndim=x.ndim - 1, rng=rng, record=record)
