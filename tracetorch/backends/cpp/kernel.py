"""A compiled step: its libraries, loaded when first needed, and calls that pass them addresses."""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...fusion.trace import TracedStep
from . import build
from .source import Layout, Wanted, backward_source, forward_source

SEGMENT = 10    # steps recomputed at a time: costs as little as keeping every state, in a tenth of the memory


class Place(NamedTuple):
    """Where a scan runs: T steps of [outer, neurons, inner], and its stream of random numbers."""

    steps: int
    outer: int
    neurons: int
    inner: int
    seed: int = 0
    position: int = 0

    @property
    def size(self) -> int:
        return self.outer * self.neurons * self.inner



class Kernel:
    """The compiled code of one traced step in one layout."""

    def __init__(self, step: TracedStep, layout: Layout):
        self.step, self.layout = step, layout
        self._order = layout.order()
        self._forward = None
        self._backward: dict[Wanted, ctypes._CFuncPtr] = {}

    def forward(
        self, place: Place, x: Tensor, starts: Sequence[Tensor | None], params: Sequence[Tensor], save: bool
    ) -> tuple[Tensor, list[Tensor], list[Tensor], Tensor | None]:
        """Return y, final states, traces, and the states at every checkpoint if they are to be saved."""
        step, shape = self.step, x.shape
        y = torch.empty(shape, dtype=self.layout.io)
        finals = [torch.empty(shape[1:], dtype=step.dtype) for _ in step.states]
        traces = [torch.empty(shape, dtype=step.dtype) for _ in step.record]
        kept = None
        if save:
            kept = torch.empty(checkpoints(place.steps) * len(step.states) * place.size, dtype=step.dtype)
        if self._forward is None:
            self._forward = _function(forward_source(step, self.layout), "forward")
        x, starts, params = rows(x), self._ready(starts, place.size), self._ready(params, None)
        _call(
            self._forward, place, x, kept, (y.data_ptr(), 0, 0),
            [*_addresses(starts), *(params[q].data_ptr() for q in self._order)],
            [*_addresses(finals), *_addresses(traces)],
        )  # fmt: skip
        return y, finals, traces, kept

    def backward(
        self, place: Place, wanted: Wanted, x: Tensor, starts: Sequence[Tensor | None], params: Sequence[Tensor],
        kept: Tensor | None, gy: Tensor | None, gfinals: Sequence[Tensor | None], gtraces: Sequence[Tensor | None],
        wanted_starts: Sequence[bool],
    ) -> tuple[Tensor | None, list[Tensor | None], list[Tensor | None]]:  # fmt: skip
        """Return the gradients of x, of the start states and of the parameters, those that are wanted."""
        step = self.step
        gx = torch.empty(x.shape, dtype=self.layout.io) if wanted.x else None
        gstarts = [torch.empty(x.shape[1:], dtype=step.dtype) if want else None for want in wanted_starts]
        order, gparams = wanted.of(self.layout), self._gradients(wanted, place.neurons, place.size)
        if wanted not in self._backward:
            self._backward[wanted] = _function(backward_source(step, self.layout, wanted), "backward")
        x, gy = rows(x), None if gy is None else rows(gy)
        gtraces = [None if g is None else rows(g) for g in gtraces]
        starts, gfinals = self._ready(starts, place.size), self._ready(gfinals, place.size)
        params = self._ready(params, None)
        _call(
            self._backward[wanted], place, x, kept,
            (_address(gy), 0 if gy is None else gy.stride(0), _address(gx)),
            [*_addresses(starts), *(params[q].data_ptr() for q in self._order), *_addresses(gfinals)],
            [*_addresses(gtraces), *(0 if g is None else g.stride(0) for g in gtraces), *_addresses(gstarts)],
            [gparams[q].data_ptr() for q in order],
        )  # fmt: skip
        return gx, gstarts, gparams

    def _gradients(self, wanted: Wanted, neurons: int, size: int) -> list[Tensor | None]:
        """Room for the gradients of the parameters, as slices of one tensor for each shape; zeros if nothing runs."""
        vectors, make = self.layout.vectors, torch.empty if size else torch.zeros
        count = sum(want and vector for want, vector in zip(wanted.params, vectors, strict=True))
        slices = {
            True: iter(make((count, neurons), dtype=self.step.dtype).unbind()),
            False: iter(make((sum(wanted.params) - count,), dtype=self.step.dtype).unbind()),
        }
        return [next(slices[v]) if want else None for want, v in zip(wanted.params, vectors, strict=True)]

    def _ready(self, tensors: Sequence[Tensor | None], size: int | None) -> list[Tensor | None]:
        """Contiguous tensors of the computation's dtype, on the CPU, of `size` elements each."""
        for tensor in tensors:
            fits = tensor is None or (
                tensor.dtype is self.step.dtype and tensor.is_cpu and size in (None, tensor.numel())
            )
            if not fits:
                raise TypeError(
                    f"{self.step.name}: a fused scan on the CPU computes in {self.step.dtype} on steps of {size} "
                    f"elements, but got {tensor.dtype} of shape {list(tensor.shape)} on {tensor.device}"
                )
        return [t if t is None or t.is_contiguous() else t.contiguous() for t in tensors]


def checkpoints(steps: int) -> int:
    """Return how often a scan of so many steps writes its states down: before every segment but the first."""
    return (steps - 1) // SEGMENT


def rows(x: Tensor) -> Tensor:
    """Return x with each step contiguous, without a copy where it is so already; time may have any stride."""
    if x.is_contiguous():
        return x
    expected = 1
    for length, stride in zip(reversed(x.shape[1:]), reversed(x.stride()[1:]), strict=True):
        if length != 1 and stride != expected:
            return x.contiguous()
        expected *= length
    return x


def _function(text: str, name: str):
    function = getattr(build.load(text), name)
    function.argtypes, function.restype = [ctypes.c_void_p], None
    return function


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _addresses(tensors: Sequence[Tensor | None]) -> list[int]:
    return [0 if t is None else t.data_ptr() for t in tensors]


def _call(function, place: Place, x: Tensor, kept: Tensor | None, ends: tuple, *rest: list[int]) -> None:
    """Pass what loop.h calls the arguments: numbers and addresses in one array."""
    if not place.size:
        return
    steps, outer, neurons, inner, seed, position = place
    values = [
        1 if _forked else torch.get_num_threads(), steps, outer, neurons, inner, SEGMENT, x.data_ptr(), x.stride(0), _address(kept),
        seed, position, *ends,
    ]  # fmt: skip
    for more in rest:
        values += more
    function((ctypes.c_int64 * len(values))(*values))


_forked = False


def _after_fork() -> None:
    """OpenMP's threads stay behind in the parent, and waiting for them would never end."""
    global _forked
    _forked = True


os.register_at_fork(after_in_child=_after_fork)


def place_of(shape: Sequence[int], dim: int, rng: Tensor | None = None) -> Place:
    """Return the place of a scan over x of `shape` [T, *step] with neurons along `dim` of one step."""
    seed, position = (0, 0) if rng is None else rng.tolist()
    outer, inner = math.prod(shape[1 : 1 + dim]), math.prod(shape[2 + dim :])
    if inner == 0:
        outer, inner = 0, 1     # nothing at all, which the loop must not divide by
    return Place(shape[0], outer, shape[1 + dim], inner, seed, position)
