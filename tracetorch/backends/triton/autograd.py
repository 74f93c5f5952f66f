"""The scan as a differentiable function, called eagerly or compiled into a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...fusion.activations import around, inside, values
from ...pipeline import Step
from ..once import once
from . import launch
from .activations import through
from .chain import Chain


class Scan(torch.autograd.Function):
    """`Scan.apply(chain, dim, dtype, activations, rng, x, *start states, *parameters)` -> (y, *final states, *traces).

    Backward leads through the activations of the parameters, None where there is none.
    """

    @staticmethod
    def forward(ctx, chain: Chain, dim: int, dtype: torch.dtype, activations: tuple, rng: Tensor | None, x: Tensor,
                *tensors):
        start, stored = _split(chain, tensors)
        par = values(activations, stored)
        y, final, traces, saved = launch.forward(chain, dim, x, start, par, rng, dtype, save=True)
        ctx.chain, ctx.dim, ctx.activations, ctx.par = chain, dim, activations, par
        ctx.save_for_backward(x, rng, saved, *tensors)
        ctx.set_materialize_grads(False)
        return (y, *final, *traces)

    @staticmethod
    def backward(ctx, gy, *cotangents):
        chain, count = ctx.chain, len(ctx.chain.states)
        x, rng, saved, *tensors = ctx.saved_tensors
        start, stored = _split(chain, tensors)
        _, _, _, _, _, need_x, *needs = ctx.needs_input_grad
        with torch.no_grad():
            gx, gstart, sums = launch.backward(
                chain, ctx.dim, x, gy, start, saved, cotangents[:count], cotangents[count:], ctx.par, rng,
                (need_x, any(needs[:count]), any(needs[count:])),
            )  # fmt: skip
            if sums is not None:
                gpar = launch.per_parameter(through(sums, stored, ctx.activations), stored)
        absent: list[Any] = [None]
        grads = (gx, *(gstart or absent * count), *(absent * len(stored) if sums is None else gpar))
        return None, None, None, None, None, *once(chain.name, grads, (gy, x, *tensors))


def _split(chain: Chain, tensors: Sequence[Any]) -> tuple[list[Tensor] | None, list[Tensor]]:
    """Start states (None where none is given) and parameters."""
    count = len(chain.states)
    start, par = list(tensors[:count]), list(tensors[count:])
    return (None if all(s is None for s in start) else start), par


def run(step: Step, chain: Chain, dim: int, dtype: torch.dtype, rng: Tensor | None, x: Tensor,
        start: Sequence[Tensor | None], stored: dict[str, Tensor]) -> Sequence[Tensor]:
    """Scan; return (y, *final states, *traces)."""
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, *start, *stored.values())):
        activations = inside(step, stored, dtype)
        return Scan.apply(chain, dim, dtype, activations, rng, x, *start, *around(step, stored, activations))
    par = list(step.values(stored).values())
    y, final, traces, _ = launch.forward(chain, dim, x, _split(chain, start)[0], par, rng, dtype, save=False)
    return (y, *final, *traces)
