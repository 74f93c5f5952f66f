"""The scan as a differentiable function of x, start states and parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ...fusion.activations import values
from ..once import once
from .kernel import Kernel, Place
from .source import Wanted


class Scan(torch.autograd.Function):
    """`Scan.apply(kernel, place, activations, x, *starts, *params)` -> (y, *final states, *traces).

    The kernel's backward leads through the activations of the parameters, None where there is none.
    """

    @staticmethod
    def forward(ctx, kernel: Kernel, place: Place, activations: Sequence[Callable | None], x: Tensor, *tensors: Any):
        count = len(kernel.step.states)
        params = values(activations, tensors[count:])
        y, finals, traces, kept = kernel.forward(place, x, tensors[:count], params, save=True)
        ctx.kernel, ctx.place, ctx.params = kernel, place, params
        ctx.save_for_backward(x, kept, *tensors)
        ctx.set_materialize_grads(False)
        return (y, *finals, *traces)

    @staticmethod
    def backward(ctx, gy: Tensor | None, *cotangents: Tensor | None):
        kernel: Kernel = ctx.kernel
        saved = ctx.saved_tensors       # read once: torch.utils.checkpoint gives them no second time
        x, kept, *tensors = saved
        count = len(kernel.step.states)
        _, _, _, need_x, *needs = ctx.needs_input_grad
        wanted = Wanted(need_x, tuple(needs[count:]))
        with torch.no_grad():
            gx, gstarts, gparams = kernel.backward(
                ctx.place, wanted, x, tensors[:count], ctx.params, tensors[count:], kept, gy, cotangents[:count],
                cotangents[count:], needs[:count],
            )  # fmt: skip
        grads = once(kernel.step.name, (gx, *gstarts, *gparams), (*saved, gy, *cotangents))
        return None, None, None, *grads
