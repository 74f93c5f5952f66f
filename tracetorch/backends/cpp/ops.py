"""The scan as operators that torch.compile can put into a graph.

A graph names its step by a key; what the step's callables hold is looked at when the operator runs, so a changed
attribute has its effect without compiling again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ...fusion.activations import derivative_of
from ...fusion.cache import traced
from ...fusion.capture import CannotTrace
from ...pipeline import Pipeline, Step
from ..once import TWICE
from .kernel import Kernel, checkpoints, place_of
from .source import Layout, Wanted

_steps: dict[str, Step] = {}


def described(
    pipeline: Pipeline, spike_fn: Callable | None, quant_fn: Callable | None, name: str, dtype: torch.dtype,
    record: tuple[str, ...],
) -> tuple[str, str | None, bool]:  # fmt: skip
    """Return the key of a step, why it cannot run or None, and whether it draws; a constant while a graph is made."""
    step = Step(pipeline, spike_fn, quant_fn, name)
    key = "/".join(str(v if isinstance(v, str) else id(v)) for v in (name, pipeline, spike_fn, quant_fn))
    _steps[key] = step      # keeps the callables alive, so that no other object gets their id
    try:
        return key, None, traced(step, dtype, record).draws > 0
    except CannotTrace as error:
        return key, str(error), False


# torch.compiler.assume_constant_result, without importing the compiler
described._dynamo_marked_constant = True    # type: ignore[attr-defined]


def kernel_of(
    step: Step, dtype: torch.dtype, record: tuple[str, ...], io: torch.dtype, vectors: tuple[bool, ...],
    activations: tuple[Callable | None, ...],
) -> Kernel:  # fmt: skip
    """Return the compiled step in a layout, made once; `activations` are those that backward leads through."""
    program = traced(step, dtype, record)
    key = io, vectors, activations
    if key not in program.built:
        program.built[key] = Kernel(program, Layout(io, vectors, tuple(derivative_of(a, dtype) for a in activations)))
    return program.built[key]


def _kernel(key: str, record: str, dtype: torch.dtype, x: Tensor, params: Sequence[Tensor]) -> Kernel:
    names = tuple(record.split(",")) if record else ()
    return kernel_of(_steps[key], dtype, names, x.dtype, tuple(p.ndim == 1 for p in params), (None,) * len(params))


@torch.library.custom_op("tracetorch::cpp_scan", mutates_args=())
def cpp_scan(
    x: Tensor, starts: Sequence[Tensor], params: Sequence[Tensor], rng: Tensor | None, key: str, record: str, dim: int,
    states: int, dtype: torch.dtype, save: bool,
) -> list[Tensor]:  # fmt: skip
    """Return y, final states, traces and checkpoints; `starts` is empty where every state starts anew."""
    kernel = _kernel(key, record, dtype, x, params)
    place = place_of(x.shape, dim, rng)
    y, finals, traces, kept = kernel.forward(place, x, starts or [None] * states, params, save)
    return [y, *finals, *traces, x.new_empty(0, dtype=dtype) if kept is None else kept]


@cpp_scan.register_fake
def _(x, starts, params, rng, key, record, dim, states, dtype, save):
    finals = [x.new_empty(x.shape[1:], dtype=dtype) for _ in range(states)]
    traces = [x.new_empty(x.shape, dtype=dtype) for _ in filter(None, record.split(","))]
    count = checkpoints(x.shape[0]) if save else 0
    kept = x.new_empty(count * states * math.prod(x.shape[1:]), dtype=dtype)
    return [x.new_empty(x.shape), *finals, *traces, kept]


@torch.library.custom_op("tracetorch::cpp_scan_backward", mutates_args=())
def cpp_scan_backward(
    x: Tensor, starts: Sequence[Tensor], params: Sequence[Tensor], rng: Tensor | None, kept: Tensor,
    cotangents: Sequence[Tensor | None], key: str, record: str, dim: int, states: int, dtype: torch.dtype,
    need_x: bool, need_starts: bool, need_params: Sequence[bool],
) -> list[Tensor]:  # fmt: skip
    """Return the gradients that are needed, of x, the start states and the parameters."""
    kernel = _kernel(key, record, dtype, x, params)
    gy, gfinals, gtraces = cotangents[0], cotangents[1 : 1 + states], cotangents[1 + states :]
    gx, gstarts, gparams = kernel.backward(
        place_of(x.shape, dim, rng), Wanted(need_x, tuple(need_params)), x, starts or [None] * states, params, params,
        kept, gy, gfinals, gtraces, [need_starts] * states,
    )  # fmt: skip
    own = [g.clone() for g in gparams if g is not None]     # an operator's outputs may not share memory
    return [g for g in (gx, *gstarts) if g is not None] + own


@cpp_scan_backward.register_fake
def _(x, starts, params, rng, kept, cotangents, key, record, dim, states, dtype, need_x, need_starts, need_params):
    gx = [x.new_empty(x.shape)] * need_x
    gstarts = [x.new_empty(x.shape[1:], dtype=dtype) for _ in range(states * need_starts)]
    return gx + gstarts + [p.new_empty(p.shape) for p, need in zip(params, need_params, strict=True) if need]


def _setup(ctx, inputs, output):
    x, starts, params, rng, *ctx.rest, _ = inputs
    ctx.count = len(starts), len(params)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, rng, output[-1], *starts, *params)


def _backward(ctx, grads):
    x, rng, kept, *tensors = ctx.saved_tensors
    starts, params = tensors[: ctx.count[0]], tensors[ctx.count[0] :]
    need_x, need_starts, need_params, *_ = ctx.needs_input_grad
    need_starts, need_params = any(need_starts), list(need_params)
    out = iter(cpp_scan_backward(x, starts, params, rng, kept, grads[:-1], *ctx.rest, need_x, need_starts, need_params))
    gx = next(out) if need_x else None
    gstarts = [next(out) if need_starts else None for _ in starts]
    return gx, gstarts, [next(out) if need else None for need in need_params], *[None] * 7


cpp_scan.register_autograd(_backward, setup_context=_setup)


def _twice(ctx, *grads):
    raise RuntimeError(TWICE)


cpp_scan_backward.register_autograd(_twice)
