"""Fused scans can be differentiated once: their gradients say so when they are differentiated again."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

TWICE = (
    "a fused scan can be differentiated once; for second derivatives run it under "
    'tt.backend("eager"), or tt.scan(..., backend="eager")'
)


def once(name: str, grads: Sequence[Tensor | None], sources: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
    """Return `grads`; where a graph of them is made, differentiating them by `sources` raises RuntimeError."""
    return _Once.apply(name, len(grads), *grads, *sources) if torch.is_grad_enabled() else grads


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, name: str, count: int, *tensors: Tensor | None):
        ctx.name = name
        return tuple(None if t is None else t.view_as(t) for t in tensors[:count])

    @staticmethod
    def backward(ctx, *grads):
        raise RuntimeError(f"{ctx.name}: {TWICE}")
