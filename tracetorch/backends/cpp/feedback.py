"""A compiled step whose output is led back to its input through a matrix, with the product inside the loop."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from ...fusion.capture import CapturedStep
from ...looped import FED, path_names
from ..program import Gradients, Shape
from . import matrix, rooms
from .matrix.linear import FEW_ROWS, LIMIT, Workspace
from .program import CppProgram, Loop
from .source import Layout
from .threads import count

_workspaces: WeakIdKeyDictionary = WeakIdKeyDictionary()
"""Packed matrices between calls, by the parameter that holds the matrix."""


class FeedbackProgram(CppProgram):
    """The compiled code of one captured step, led back. Besides states it keeps every drive, which follow them.

    A drive is one chain of fused multiply-adds, from bias or +0 over k ascending, and x is added last; whatever the
    batch, the number of threads, and however time is cut.
    """

    from_output = True
    whole = True

    def __init__(self, step: CapturedStep, layout: Layout, activations: tuple[Callable[[Tensor], Tensor] | None, ...],
                 biased: bool):
        super().__init__(step, layout, activations)
        path = path_names(biased)
        self.parameters = (*step.params, *path)
        self.activations = (*activations, *[None] * len(path))
        self._fed, self._own = step.states.index(FED), len(step.params)

    def lay(self, shape: Shape, dim: int, x: Tensor) -> tuple[Shape, Tensor]:
        """Return an input with contiguous steps; see `Program`."""
        return shape, rooms.placed(x, shape, whole=True)[0]

    def kept_elements(self, shape: Shape) -> int:
        """Return the size of what forward keeps: the states before every segment but the first, and every drive."""
        return super().kept_elements(shape) + shape.T * shape.size

    def prepare(self, x: bool, parameters: tuple[bool, ...]) -> None:
        """Compile the loop backward in time, which gives the gradient of the drive; see `Program`."""
        super().prepare(True, parameters[: self._own])

    def backward(self, shape: Shape, wanted: Gradients, x: Tensor, starts: Sequence[Tensor | None],
                 given: Sequence[Tensor], values: Sequence[Tensor], rng: Tensor | None, kept: Tensor | None,
                 gy: Tensor | None, gfinals: Sequence[Tensor | None], grecordings: Sequence[Tensor | None],
                 ) -> tuple[Tensor | None, list[Tensor | None], list[Tensor | None]]:
        """Return the gradients that are wanted; x is the output. See `Program`."""
        drive = x if kept is None else kept[super().kept_elements(shape) :].view(x.shape)      # None: an empty batch
        own = Gradients(True, wanted.starts, wanted.params[: self._own])
        gdrive, gstarts, gparams = super().backward(
            shape, own, drive, starts, given, values, rng, kept, gy, gfinals, grecordings)
        assert gdrive is not None
        weight, need_weight, *rest = values[self._own], *wanted.params[self._own :]
        need_bias = any(rest)
        if self._few(shape):
            g, start, gstart = gdrive.view(-1, shape.N), starts[self._fed], gstarts[self._fed]
            needs = gstart is not None, need_weight and start is not None, need_bias
            fed = None if start is None else start.contiguous().view(-1, shape.N)
            back, *gpath = matrix.gradients(g, fed, weight.contiguous(), needs, count())
            if gstart is not None and back is not None:
                gstart.add_(back.view(shape.step))
            if need_weight and start is None:
                gpath[0] = torch.zeros_like(weight)
        else:
            gpath = [_weight_gradient(gdrive, x, starts[self._fed], shape) if need_weight else None,
                     gdrive.view(-1, shape.N).sum(0) if need_bias else None]
        return gdrive if wanted.x else None, gstarts, [*gparams, *gpath[: len(given) - self._own]]

    def _few(self, shape: Shape) -> bool:
        """Whether backward is one step of few rows: for these W is read where it lies, in one call for all of it."""
        return shape.T == 1 and 0 < shape.outer <= FEW_ROWS and self.dtype is torch.float32

    def _call(self, loop: Loop, slots: array, shape: Shape, values: Sequence[Tensor], kept: Tensor | None) -> None:
        """Run a loop with the matrix packed."""
        at, forward = loop.at, loop is self._forward
        weight, *bias = values[self._own :]
        slots[at["MATRIX"]], slots[at["WEIGHT"]] = matrix.table(self.dtype), weight.data_ptr()
        slots[at["BIAS"]] = bias[0].data_ptr() if bias else 0
        if forward and kept is not None:
            slots[at["DRIVE"]] = kept.data_ptr() + super().kept_elements(shape) * kept.element_size()
        if self.dtype is not torch.float32:     # the call packs it
            return loop(slots)
        if not forward and self._few(shape):
            slots[at["MATRIX"]] = 0     # no product inside
            return loop(slots)
        own = _workspace_of(weight).taken()
        try:
            packed = (own.forward if forward else own.backward).update(weight, count())
            slots[at["PACKED"]], slots[at["FINITE"]] = packed.address, packed.finite
            loop(slots)
        finally:
            own.lock.release()


def _workspace_of(weight: Tensor) -> Workspace:
    """Return what is packed of a parameter; of any other tensor, which was computed for this call, nothing is kept."""
    if not isinstance(weight, nn.Parameter):
        return Workspace()
    found = _workspaces.get(weight)
    if found is None:
        found = _workspaces[weight] = Workspace()
    return found


def _weight_gradient(gdrive: Tensor, y: Tensor, start: Tensor | None, shape: Shape) -> Tensor:
    """Return the sum over time of gdrive[t]^T fed[t] [N, N], fed[0] being the start, and fed[t] then y[t - 1]."""
    size, N, threads = shape.outer, shape.N, count()
    g, fed = gdrive.view(-1, N), y.reshape(-1, N)
    total = _outer(g[size:], fed[: len(fed) - size], threads)
    return total if start is None else total + _outer(g[:size], start.reshape(-1, N), threads)


def _outer(g: Tensor, x: Tensor, threads: int) -> Tensor:
    """Return g^T x, in float32 from lists of what is not zero in x where that is little."""
    if g.dtype is not torch.float32 or not len(g):
        return g.T @ x
    sparse = matrix.density(x) <= LIMIT and matrix.finite(g, threads)
    return matrix.weight_gradient(matrix.Lists.of(x, threads) if sparse else x, g, threads)
