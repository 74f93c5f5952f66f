"""The scan as a differentiable function of x, start states and parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .kernel import Kernel, Place
from .source import Wanted


class Scan(torch.autograd.Function):
    """`Scan.apply(kernel, place, x, *starts, *params)` -> (y, *final states, *traces)."""

    @staticmethod
    def forward(ctx, kernel: Kernel, place: Place, x: Tensor, *tensors: Any):
        count = len(kernel.step.states)
        y, finals, traces, kept = kernel.forward(place, x, tensors[:count], tensors[count:], save=True)
        ctx.kernel, ctx.place = kernel, place
        ctx.save_for_backward(x, kept, *tensors)
        ctx.set_materialize_grads(False)
        return (y, *finals, *traces)

    @staticmethod
    def backward(ctx, gy: Tensor | None, *cotangents: Tensor | None):
        kernel: Kernel = ctx.kernel
        x, kept, *tensors = ctx.saved_tensors
        count = len(kernel.step.states)
        _, _, need_x, *needs = ctx.needs_input_grad
        wanted = Wanted(need_x, tuple(needs[count:]))
        with torch.no_grad():
            gx, gstarts, gparams = kernel.backward(
                ctx.place, wanted, x, tensors[:count], tensors[count:], kept, gy, cotangents[:count],
                cotangents[count:], needs[:count],
            )  # fmt: skip
        grads = (gx, *gstarts, *gparams)
        if torch.is_grad_enabled():
            grads = _Once.apply(kernel.step.name, len(grads), *grads, *ctx.saved_tensors, gy, *cotangents)
        return None, None, *grads


class _Once(torch.autograd.Function):
    """Gradients, and what they came from, so that differentiating them again says that it cannot be done."""

    @staticmethod
    def forward(ctx, name: str, count: int, *tensors: Tensor | None):
        ctx.name = name
        return tuple(None if t is None else t.view_as(t) for t in tensors[:count])

    @staticmethod
    def backward(ctx, *grads):
        raise RuntimeError(f"{ctx.name}: {TWICE}")


TWICE = (
    "a fused scan can be differentiated once; for second derivatives run it under "
    'tt.backend("eager"), or tt.scan(..., backend="eager")'
)
