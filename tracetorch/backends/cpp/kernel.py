"""A compiled step: its libraries, loaded when first needed, and calls that pass them addresses."""

from __future__ import annotations

import math
import os
from array import array
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...fusion.capture import TracedStep
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
        self._forward: Callable[[int], None] | None = None
        self._backward: dict[Wanted, Callable[[int], None]] = {}

    def forward(
        self, place: Place, x: Tensor, starts: Sequence[Tensor | None], params: Sequence[Tensor], save: bool
    ) -> tuple[Tensor, list[Tensor], list[Tensor], Tensor | None]:
        """Return y, final states, traces, and the states at every checkpoint if they are to be saved."""
        if self._forward is None:
            self._forward = _function(forward_source(self.step, self.layout), "forward")
        step, shape, dtype = self.step, x.shape, self.step.dtype
        y = _like(x)
        finals = _several(len(step.states), shape[1:], dtype)
        traces = _several(len(step.record), shape, dtype)
        count = checkpoints(place.steps) if save else 0
        kept = torch.empty(count * len(finals) * place.size, dtype=dtype) if count else None
        x, starts, params = rows(x), self._ready(starts, place.size), self._ready(params)
        values = [*_numbers(place, x, kept), y.data_ptr(), 0, 0]
        values += [0 if t is None else t.data_ptr() for t in starts]
        values += [params[q].data_ptr() for q in self._order]
        values += [t.data_ptr() for t in finals]
        values += [t.data_ptr() for t in traces]
        if place.size:
            _call(self._forward, values)
        return y, finals, traces, kept

    def backward(
        self, place: Place, wanted: Wanted, x: Tensor, starts: Sequence[Tensor | None], params: Sequence[Tensor],
        stored: Sequence[Tensor], kept: Tensor | None, gy: Tensor | None, gfinals: Sequence[Tensor | None],
        gtraces: Sequence[Tensor | None], wanted_starts: Sequence[bool],
    ) -> tuple[Tensor | None, list[Tensor | None], list[Tensor | None]]:  # fmt: skip
        """Return the gradients of x, of the start states and of the parameters as stored, those that are wanted."""
        if wanted not in self._backward:
            self._backward[wanted] = _function(backward_source(self.step, self.layout, wanted), "backward")
        gx = _like(x) if wanted.x else None
        gstarts = [torch.empty(x.shape[1:], dtype=self.step.dtype) if want else None for want in wanted_starts]
        gparams = self._gradients(wanted, place)
        x, gy = rows(x), None if gy is None else rows(gy)
        gtraces = [None if g is None else rows(g) for g in gtraces]
        starts, gfinals = self._ready(starts, place.size), self._ready(gfinals, place.size)
        params, stored = self._ready(params), self._ready(stored)
        values = [*_numbers(place, x, kept), *((0, 0) if gy is None else (gy.data_ptr(), gy.stride(0)))]
        values.append(0 if gx is None else gx.data_ptr())
        values += [0 if t is None else t.data_ptr() for t in starts]
        values += [params[q].data_ptr() for q in self._order]
        values += [0 if t is None else t.data_ptr() for t in gfinals]
        values += [0 if t is None else t.data_ptr() for t in gtraces]
        values += [0 if t is None else t.stride(0) for t in gtraces]
        values += [0 if t is None else t.data_ptr() for t in gstarts]
        values += [g.data_ptr() for q in self._order if (g := gparams[q]) is not None]
        values += [stored[q].data_ptr() for q in self._order if wanted.params[q]]
        if place.size:
            _call(self._backward[wanted], values)
        return gx, gstarts, gparams

    def _gradients(self, wanted: Wanted, place: Place) -> list[Tensor | None]:
        """Room for the gradients of the parameters, as slices of one tensor for each shape; zeros if nothing runs."""
        vectors, make, dtype = self.layout.vectors, torch.empty if place.size else torch.zeros, self.step.dtype
        gradients: list[Tensor | None] = [None] * len(vectors)
        for kind, shape in ((True, (place.neurons,)), (False, ())):
            slots = [q for q in range(len(vectors)) if wanted.params[q] and vectors[q] is kind]
            if slots:
                for q, room in zip(slots, make((len(slots), *shape), dtype=dtype).unbind(), strict=True):
                    gradients[q] = room
        return gradients

    def _ready(self, tensors: Sequence[Tensor | None], size: int | None = None) -> list[Tensor]:
        """Contiguous tensors of the computation's dtype, on the CPU, of `size` elements each; None stays None."""
        dtype = self.step.dtype
        for t in tensors:
            if t is not None and (t.dtype is not dtype or not t.is_cpu or (size is not None and t.numel() != size)):
                raise TypeError(
                    f"{self.step.name}: a fused scan on the CPU computes in {dtype} on steps of {size} elements, but "
                    f"got {t.dtype} of shape {list(t.shape)} on {t.device}"
                )
        return [t if t is None or t.is_contiguous() else t.contiguous() for t in tensors]  # type: ignore[misc]


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


def place_of(shape: Sequence[int], dim: int, rng: Tensor | None = None) -> Place:
    """Return the place of a scan over x of `shape` [T, *step] with neurons along `dim` of one step."""
    seed, position = (0, 0) if rng is None else rng.tolist()
    return Place(shape[0], math.prod(shape[1 : 1 + dim]), shape[1 + dim], math.prod(shape[2 + dim :]), seed, position)


def _like(x: Tensor) -> Tensor:
    """An empty contiguous tensor; empty_like is the fastest way where it gives one."""
    return torch.empty_like(x) if x.is_contiguous() else torch.empty(x.shape, dtype=x.dtype)


def _several(count: int, shape: Sequence[int], dtype: torch.dtype) -> list[Tensor]:
    if not count:
        return []
    first = torch.empty(shape, dtype=dtype)
    return [first, *(torch.empty_like(first) for _ in range(count - 1))]


def _function(text: str, name: str) -> Callable[[int], None]:
    function = getattr(build.load(text), name)
    function.argtypes, function.restype = [build.ADDRESS], None
    return function


def _numbers(place: Place, x: Tensor, kept: Tensor | None) -> list[int]:
    """What loop.h calls the arguments, as far as both loops have them."""
    steps, outer, neurons, inner, seed, position = place
    threads = 1 if _forked else torch.get_num_threads()
    address = 0 if kept is None else kept.data_ptr()
    return [threads, steps, outer, neurons, inner, SEGMENT, x.data_ptr(), x.stride(0), address, seed, position]


def _call(function: Callable[[int], None], values: list[int]) -> None:
    arguments = array("q", values)      # has to outlive the call
    function(arguments.buffer_info()[0])


_forked = False


def _after_fork() -> None:
    """OpenMP's threads stay behind in the parent, and waiting for them would never end."""
    global _forked
    _forked = True


os.register_at_fork(after_in_child=_after_fork)
