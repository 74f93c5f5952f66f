"""A compiled step: its libraries, loaded when first needed, and calls that pass them addresses."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ...fusion.capture import CapturedStep
from ..program import Gradients, Scanned, Shape
from . import build
from .slots import Slots
from .source import Layout, Wanted, backward_source, forward_source

SEGMENT = 10    # steps recomputed at a time: costs as little as keeping every state, in a tenth of the memory


class CppProgram:
    """The compiled code of one captured step in one layout; a `backends.program.Program`."""

    from_output = False

    def __init__(self, step: CapturedStep, layout: Layout, activations: tuple[Callable[[Tensor], Tensor] | None, ...]):
        self.step, self.layout, self.activations = step, layout, activations
        self.name, self.dtype, self.record, self.draws = step.name, step.dtype, step.record, step.draws > 0
        self.states, self.starts, self.parameters = step.states, step.starts, step.params
        self._order = layout.order()
        self._forward: Loop | None = None
        self._backward: dict[Wanted, Loop] = {}

    def ready(self) -> Loop:
        """Return the loop forward in time, compiled by the first call."""
        if self._forward is None:
            self._forward = Loop("forward", *forward_source(self.step, self.layout))
        return self._forward

    def forward(self, shape: Shape, x: Tensor, starts: Sequence[Tensor | None], values: Sequence[Tensor],
                rng: Tensor | None, keep: bool) -> Scanned:
        """Scan; see `Program`."""
        loop = self._forward or self.ready()
        size = shape.size
        outputs = [_like(x), *_several(len(self.states), x, shape.step, self.dtype)]
        if self.record:
            outputs += _several(len(self.record), x, x.shape, self.dtype)
        count = self.kept_elements(shape) if keep else 0
        kept = torch.empty(count, dtype=self.dtype) if count else None
        x = rows(x, shape.step)
        values = self._ready(values)
        inputs = [*self._ready(starts, size), *[values[q] for q in self._order]]
        slots = loop.slots(shape, x, kept, rng)
        put(slots, loop.at["Y"], [*outputs, *inputs])
        if size:
            self._call(loop, slots, shape, values, kept)
        states = 1 + len(self.states)
        return Scanned(outputs[0], outputs[1:states], outputs[states:], kept)

    def backward(self, shape: Shape, wanted: Gradients, x: Tensor, starts: Sequence[Tensor | None],
                 given: Sequence[Tensor], values: Sequence[Tensor], rng: Tensor | None, kept: Tensor | None,
                 gy: Tensor | None, gfinals: Sequence[Tensor | None], grecordings: Sequence[Tensor | None],
                 ) -> tuple[Tensor | None, list[Tensor | None], list[Tensor | None]]:
        """Return the gradients that are wanted; see `Program`."""
        computed = Wanted(wanted.x, wanted.params)
        loop = self._backward.get(computed)
        if loop is None:
            loop = self._backward[computed] = Loop("backward", *backward_source(self.step, self.layout, computed))
        step, size = shape.step, shape.size
        gx = _like(x) if wanted.x else None
        gstarts = [torch.empty(step, dtype=self.dtype) if want else None for want in wanted.starts]
        gparams = self._gradients(computed, shape)
        x, gy = rows(x, step), None if gy is None else rows(gy, step)
        grecordings = [None if g is None else rows(g, step) for g in grecordings]
        starts, gfinals = self._ready(starts, size), self._ready(gfinals, size)
        params, stored = self._ready(values), self._ready(given)
        grads = computed.of(self.layout)
        slots = loop.slots(shape, x, kept, rng)
        strides = [0 if g is None else g.stride(0) for g in (gy, *grecordings)]
        slots[loop.at["GY_STRIDE"]] = strides[0]
        for i, stride in enumerate(strides[1:], loop.at["GTRACE_STRIDE_AT"]):
            slots[i] = stride
        put(slots, loop.at["GY"], [
            gy, gx, *starts, *[params[q] for q in self._order], *gfinals, *grecordings, *gstarts,
            *[gparams[q] for q in grads], *[stored[q] for q in grads],
        ])
        if size:
            self._call(loop, slots, shape, params, kept)
        return gx, gstarts, gparams

    def _call(self, loop: Loop, slots: array, shape: Shape, values: Sequence[Tensor], kept: Tensor | None) -> None:
        """Run a loop over time."""
        loop(slots)

    def kept_elements(self, shape: Shape) -> int:
        """Return the size of what forward keeps: the states before every segment but the first."""
        return (shape.T - 1) // SEGMENT * len(self.states) * shape.size

    def outline(self) -> tuple[str, int]:
        """Return the C++ text, forward then backward, and how many steps lie between kept states."""
        wanted = Wanted(True, (True,) * len(self.layout.vectors))
        both = forward_source(self.step, self.layout), backward_source(self.step, self.layout, wanted)
        return "\n".join(text for text, _ in both), SEGMENT

    def _gradients(self, wanted: Wanted, shape: Shape) -> list[Tensor | None]:
        """Room for the gradients of the parameters, as slices of one tensor for each shape; zeros if nothing runs."""
        vectors, make, dtype = self.layout.vectors, torch.empty if shape.size else torch.zeros, self.dtype
        gradients: list[Tensor | None] = [None] * len(vectors)
        for kind, sizes in ((True, (shape.N,)), (False, ())):
            slots = [q for q in range(len(vectors)) if wanted.params[q] and vectors[q] is kind]
            if slots:
                for q, room in zip(slots, make((len(slots), *sizes), dtype=dtype).unbind(), strict=True):
                    gradients[q] = room
        return gradients

    def _ready(self, tensors: Sequence[Any], size: int | None = None) -> list[Any]:
        """Contiguous tensors of the computation's dtype, on the CPU, of `size` elements each; None stays None."""
        dtype = self.dtype
        for t in tensors:
            if t is not None and (t.dtype is not dtype or not t.is_cpu or (size is not None and t.numel() != size)):
                raise TypeError(
                    f"{self.name}: a fused scan on the CPU computes in {dtype} on steps of {size} elements, but "
                    f"got {t.dtype} of shape {list(t.shape)} on {t.device}"
                )
        return [t if t is None or (t.is_contiguous() and not t.is_neg()) else t.resolve_neg().contiguous()
                for t in tensors]


def rows(x: Tensor, step: torch.Size) -> Tensor:
    """Return x [T, *step] or [*step] with each step contiguous, copied only where it is not; time has any stride."""
    x = x.resolve_neg() if x.is_neg() else x
    if x.is_contiguous():
        return x
    if x.ndim == len(step):
        return x.contiguous()
    expected = 1
    for length, stride in zip(reversed(x.shape[1:]), reversed(x.stride()[1:]), strict=True):
        if length != 1 and stride != expected:
            return x.contiguous()
        expected *= length
    return x


def _like(x: Tensor) -> Tensor:
    """An empty contiguous tensor; empty_like is the fastest way where it gives one."""
    return torch.empty_like(x) if x.is_contiguous() else torch.empty(x.shape, dtype=x.dtype)


def _several(count: int, x: Tensor, shape: torch.Size, dtype: torch.dtype) -> list[Tensor]:
    """Return so many empty tensors."""
    if not count:
        return []
    first = _like(x) if x.dtype is dtype and x.shape == shape else torch.empty(shape, dtype=dtype)
    return [first, *[torch.empty_like(first) for _ in range(count - 1)]]


def put(slots: array, at: int, tensors: Sequence[Tensor | None]) -> None:
    """Write down addresses, one after another."""
    slots[at : at + len(tensors)] = array("q", [0 if t is None else t.data_ptr() for t in tensors])


class Loop:
    """A compiled loop over time; called with its arguments in `slots`."""

    def __init__(self, name: str, text: str, slots: Slots):
        self._function = getattr(build.load(text), name)
        self._function.argtypes, self._function.restype = [build.ADDRESS], None
        self.at, self._slots = slots.at, slots
        self._last: tuple[Shape, array] | None = None

    def slots(self, shape: Shape, x: Tensor, kept: Tensor | None, rng: Tensor | None) -> array:
        """Return the arguments, as far as both loops have them."""
        at, last = self.at, self._last
        if last is None or last[0] is not shape:
            T, outer, N, inner, _ = shape
            numbers = self._slots.filled(STEPS=T, OUTER=outer, NEURONS=N, INNER=inner, SEGMENT=SEGMENT)
            last = self._last = shape, numbers
        slots = last[1][:]
        slots[at["THREADS"]] = 1 if _forked else torch.get_num_threads()
        slots[at["X"]], slots[at["X_STRIDE"]] = x.data_ptr(), x.stride(0)
        if kept is not None:
            slots[at["CHECKPOINTS"]] = kept.data_ptr()
        if rng is not None:
            slots[at["SEED"]], slots[at["POSITION"]] = rng.tolist()
        return slots

    def __call__(self, slots: array) -> None:
        self._function(slots.buffer_info()[0])


_forked = False


def _after_fork() -> None:
    """OpenMP's threads stay behind in the parent, and waiting for them would never end."""
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):      # Windows does not fork
    os.register_at_fork(after_in_child=_after_fork)
