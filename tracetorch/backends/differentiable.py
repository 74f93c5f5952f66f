"""A program as a differentiable function: the one autograd Function, and the one pair of operators for graphs."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..fusion.callables import lifted
from ..looped import wrapped
from ..pipeline import Step, Steps
from .choose import load
from .program import Gradients, Program, Refused, Shape, shape_of
from .values import Values

TWICE = (
    "a fused scan can be differentiated once; for second derivatives run it under "
    'tt.backend("eager"), or tt.scan(..., backend="eager")'
)


class Scan(torch.autograd.Function):
    """`Scan.apply(program, values, shape, rng, x, *starts, *given)` -> (y, *final states, *recordings)."""

    @staticmethod
    def forward(ctx, program: Program, values_of: Values, shape: Shape, rng: Tensor | None, x: Tensor, *tensors: Any):
        count = len(program.states)
        values = values_of(tensors[count:])
        y, finals, recordings, kept = program.forward(shape, x, tensors[:count], values, rng, True)
        ctx.program, ctx.shape, ctx.values = program, shape, values
        ctx.save_for_backward(y if program.from_output else x, rng, kept, *tensors)
        ctx.set_materialize_grads(False)
        return (y, *finals, *recordings)

    @staticmethod
    def backward(ctx, gy: Tensor | None, *cotangents: Tensor | None):
        saved = ctx.saved_tensors       # read once: torch.utils.checkpoint gives them no second time
        if not torch.is_grad_enabled():
            return None, None, None, None, *_gradients(ctx, saved, gy, cotangents)
        with torch.no_grad():
            grads = _gradients(ctx, saved, gy, cotangents)
        why = f"{ctx.program.name}: {TWICE}"
        return None, None, None, None, *Once.apply(why, len(grads), *grads, *saved, gy, *cotangents)


def _gradients(ctx: Any, saved: Sequence[Any], gy: Tensor | None, cotangents: Sequence[Tensor | None],
               ) -> Sequence[Tensor | None]:
    """Return the gradients of x, of the start states and of the parameters."""
    program: Program = ctx.program
    x, rng, kept, *tensors = saved
    count = len(program.states)
    _, _, _, _, need_x, *needs = ctx.needs_input_grad
    wanted = Gradients(need_x, tuple(needs[:count]), tuple(needs[count:]))
    gx, gstarts, gparams = program.backward(
        ctx.shape, wanted, x, tensors[:count], tensors[count:], ctx.values, rng, kept, gy, cotangents[:count],
        cotangents[count:],
    )
    return gx, *gstarts, *gparams


class Once(torch.autograd.Function):
    """`Once.apply(why, count, *gradients, *inputs)` passes gradients on; differentiating them again raises `why`."""

    @staticmethod
    def forward(ctx, why: str, count: int, *tensors: Tensor | None):
        ctx.why = why
        return tuple(None if t is None else t.view_as(t) for t in tensors[:count])

    @staticmethod
    def backward(ctx, *grads):
        raise RuntimeError(ctx.why)


class Entry(NamedTuple):
    """A step that graphs call by a key: its pipeline, weak references to its callables, and how it runs."""

    pipeline: Steps
    spike_fn: Callable[[], Any]
    quant_fn: Callable[[], Any]
    name: str
    backend: str
    dtype: torch.dtype
    record: tuple[str, ...]
    parameters: tuple[str, ...]

    def program(self, io: torch.dtype, ranks: Sequence[int]) -> Program:
        """Return the program of the step as its callables are now; a changed attribute needs no new graph."""
        step = Step(self.pipeline, self.spike_fn(), self.quant_fn(), self.name)
        try:
            named = dict(zip(self.parameters, ranks, strict=True))
            return load(self.backend).program_of(step, self.dtype, io, named, self.record)
        except Refused as error:
            raise RuntimeError(f"backend={self.backend!r} can't run {self.name} any more: {error}. Compile the graph "
                               "again") from None


_entries: dict[str, Entry] = {}


def enter(pipeline: Steps, wrap: tuple[int, bool], spike_fn: Callable | None, quant_fn: Callable | None, name: str,
          backend: str, dtype: torch.dtype, io: torch.dtype, ranks: tuple[int, ...], record: tuple[str, ...],
          ) -> tuple[str, str | None, bool, tuple[int, ...]]:
    """Name a step for a graph; a constant while the graph is made.

    Returns:
        Its key; why it can't run, or None; whether it draws; and which of the parameters, the pipeline's and then the
        lifted ones, the program takes in which order.
    """
    parts = name, pipeline, *wrap, spike_fn, quant_fn, backend, dtype, record
    pipeline = wrapped(pipeline, *wrap)
    step = Step(pipeline, spike_fn, quant_fn, name)
    names = (*pipeline.parameters, *lifted(step))
    try:
        program = load(backend).program_of(step, dtype, io, dict(zip(names, ranks, strict=True)), record)
    except (Refused, ImportError) as error:
        return "", str(error), False, ()
    key = "/".join(str(id(p) if callable(p) else p) for p in parts)
    spike, quant = (_reference(fn, lambda _: _entries.pop(key, None)) for fn in (spike_fn, quant_fn))
    _entries[key] = Entry(pipeline, spike, quant, name, backend, dtype, record, program.parameters)
    return key, None, program.draws, tuple(names.index(n) for n in program.parameters)


# torch.compiler.assume_constant_result, without importing the compiler
enter._dynamo_marked_constant = True    # type: ignore[attr-defined]


def _reference(what: Any, forget: Callable) -> Callable[[], Any]:
    """Refer to a callable without keeping it alive: its entry goes with it."""
    try:
        return weakref.ref(what, forget)
    except TypeError:       # None, or of a type that has no weak references: kept
        return lambda: what


def _program(key: str, x: Tensor, params: Sequence[Tensor]) -> Program:
    return _entries[key].program(x.dtype, tuple(p.ndim for p in params))


@torch.library.custom_op("tracetorch::scan", mutates_args=())
def scan(x: Tensor, starts: Sequence[Tensor], params: Sequence[Tensor], rng: Tensor | None, key: str, dim: int,
         keep: bool) -> list[Tensor]:
    """Return y, final states, recordings and what is kept; `starts` is empty where every state starts anew."""
    program = _program(key, x, params)
    begin: Sequence[Tensor | None] = starts or [None] * len(program.states)
    y, finals, recordings, kept = program.forward(_shape(x, dim), x, begin, params, rng, keep)
    return [y, *finals, *recordings, x.new_empty(0, dtype=program.dtype) if kept is None else kept.view(-1)]


@scan.register_fake
def _(x, starts, params, rng, key, dim, keep):
    program = _program(key, x, params)
    finals = [x.new_empty(x.shape[1:], dtype=program.dtype) for _ in program.states]
    recordings = [x.new_empty(x.shape, dtype=program.dtype) for _ in program.record]
    kept = x.new_empty(program.kept_elements(_shape(x, dim)) if keep else 0, dtype=program.dtype)
    return [x.new_empty(x.shape), *finals, *recordings, kept]


@torch.library.custom_op("tracetorch::scan_backward", mutates_args=())
def scan_backward(x: Tensor, starts: Sequence[Tensor], params: Sequence[Tensor], rng: Tensor | None, kept: Tensor,
                  cotangents: Sequence[Tensor | None], key: str, dim: int, need_x: bool, need_starts: bool,
                  need_params: Sequence[bool]) -> list[Tensor]:
    """Return the gradients that are needed, of x, the start states and the parameters."""
    program = _program(key, x, params)
    count = len(program.states)
    wanted = Gradients(need_x, (need_starts,) * count, tuple(need_params))
    gx, gstarts, gparams = program.backward(
        _shape(x, dim), wanted, x, starts or [None] * count, params, params, rng, kept, cotangents[0],
        cotangents[1 : 1 + count], cotangents[1 + count :],
    )
    own = [g.clone() for g in gparams if g is not None]     # an operator's outputs may not share memory
    return [g for g in (gx, *gstarts) if g is not None] + own


@scan_backward.register_fake
def _(x, starts, params, rng, kept, cotangents, key, dim, need_x, need_starts, need_params):
    program = _program(key, x, params)
    gx = [x.new_empty(x.shape)] * need_x
    gstarts = [x.new_empty(x.shape[1:], dtype=program.dtype) for _ in range(len(program.states) * need_starts)]
    return gx + gstarts + [p.new_empty(p.shape) for p, need in zip(params, need_params, strict=True) if need]


def _shape(x: Tensor, dim: int) -> Shape:
    return shape_of(x.shape[0], x.shape[1:], dim)


def _setup(ctx, inputs, output):
    x, starts, params, rng, ctx.key, ctx.dim, keep = inputs
    if not keep:
        raise RuntimeError("tracetorch::scan: called with keep=False, it keeps nothing to differentiate by")
    if _program(ctx.key, x, params).from_output:
        x = output[0]
    ctx.count = len(starts)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, rng, output[-1], *starts, *params)


def _backward(ctx, grads):
    x, rng, kept, *tensors = ctx.saved_tensors
    starts, params = tensors[: ctx.count], tensors[ctx.count :]
    need_x, need_starts, need_params, *_ = ctx.needs_input_grad
    need_starts, need_params = any(need_starts), list(need_params)
    out = iter(scan_backward(x, starts, params, rng, kept, grads[:-1], ctx.key, ctx.dim, need_x, need_starts,
                             need_params))
    gx = next(out) if need_x else None
    gstarts = [next(out) if need_starts else None for _ in starts]
    return gx, gstarts, [next(out) if need else None for need in need_params], None, None, None, None


scan.register_autograd(_backward, setup_context=_setup)


def _twice(ctx, *grads):
    raise RuntimeError(TWICE)


scan_backward.register_autograd(_twice)
