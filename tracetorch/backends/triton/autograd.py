"""The scan as a differentiable function, called eagerly or compiled into a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tracetorch.backends.triton import launch
from tracetorch.backends.triton.composition import Composition
from tracetorch.fusion.once import once


class Scan(torch.autograd.Function):
    """`Scan.apply(C, dim, dtype, rng, x, *start states, *parameters)` -> (y, *final states, *traces)."""

    @staticmethod
    def forward(ctx, C: Composition, dim: int, dtype: torch.dtype, rng: Tensor | None, x: Tensor, *tensors):
        start, par = _split(C, tensors)
        y, final, traces, saved = launch.forward(C, dim, x, start, par, rng, dtype, save=True)
        ctx.C, ctx.dim = C, dim
        ctx.save_for_backward(x, rng, saved, *tensors)
        ctx.set_materialize_grads(False)
        return (y, *final, *traces)

    @staticmethod
    def backward(ctx, gy, *cotangents):
        C, count = ctx.C, len(ctx.C.states)
        x, rng, saved, *tensors = ctx.saved_tensors
        start, par = _split(C, tensors)
        _, _, _, _, need_x, *needs = ctx.needs_input_grad
        with torch.no_grad():
            gx, gstart, sums = launch.backward(
                C, ctx.dim, x, gy, start, saved, cotangents[:count], cotangents[count:], par, rng,
                (need_x, any(needs[:count]), any(needs[count:])),
            )  # fmt: skip
            gpar = None if sums is None else launch.per_parameter(sums, par)
        absent: list[Any] = [None]
        grads = (gx, *(gstart or absent * count), *(gpar or absent * len(par)))
        return None, None, None, None, *once(C.name, grads, (gy, x, *tensors))


def _split(C: Composition, tensors: Sequence[Any]) -> tuple[list[Tensor] | None, list[Tensor]]:
    """Start states (None where none is given) and parameters."""
    count = len(C.states)
    start, par = list(tensors[:count]), list(tensors[count:])
    return (None if all(s is None for s in start) else start), par


def run(C: Composition, dim: int, dtype: torch.dtype, rng: Tensor | None, x: Tensor,
        start: Sequence[Tensor | None], par: Sequence[Tensor]) -> Sequence[Tensor]:
    """Scan; return (y, *final states, *traces)."""
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, *start, *par)):
        return Scan.apply(C, dim, dtype, rng, x, *start, *par)
    y, final, traces, _ = launch.forward(C, dim, x, _split(C, start)[0], par, rng, dtype, save=False)
    return (y, *final, *traces)
