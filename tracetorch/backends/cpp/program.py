"""A compiled step: its libraries, loaded when first needed, and calls that pass them addresses."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ...fusion.capture import TracedStep
from ..program import Gradients, Scanned, Shape
from . import build
from .slots import Slots
from .source import Layout, Wanted, backward_source, forward_source

SEGMENT = 10    # steps recomputed at a time: costs as little as keeping every state, in a tenth of the memory


class CppProgram:
    """The compiled code of one captured step in one layout; a `backends.program.Program`."""

    def __init__(self, step: TracedStep, layout: Layout, activations: tuple[Callable[[Tensor], Tensor] | None, ...]):
        self.step, self.layout, self.activations = step, layout, activations
        self.name, self.dtype, self.record, self.draws = step.name, step.dtype, step.record, step.draws > 0
        self.states, self.starts, self.parameters = step.states, step.starts, step.params
        self._order = layout.order()
        self._forward: Loop | None = None
        self._backward: dict[Wanted, Loop] = {}

    def forward(self, shape: Shape, x: Tensor, starts: Sequence[Tensor | None], values: Sequence[Tensor],
                rng: Tensor | None, keep: bool) -> Scanned:
        """Scan; see `Program`."""
        loop = self._forward
        if loop is None:
            loop = self._forward = Loop("forward", *forward_source(self.step, self.layout))
        y = _like(x)
        finals = _several(len(self.states), x, shape.step, self.dtype)
        recordings = _several(len(self.record), x, x.shape, self.dtype)
        count = self.kept_elements(shape) if keep else 0
        kept = torch.empty(count, dtype=self.dtype) if count else None
        x = x if x.is_contiguous() else rows(x, shape.step)
        starts, params = self._ready(starts, shape.size), self._ready(values)
        at, slots = loop.at, loop.slots(shape, x, kept, rng)
        slots[at["Y"]] = y.data_ptr()
        _put(slots, at["START_AT"], starts)
        _put(slots, at["PARAMS_AT"], [params[q] for q in self._order])
        _put(slots, at["FINAL_AT"], finals)
        _put(slots, at["TRACE_AT"], recordings)
        if shape.size:
            loop(slots)
        return Scanned(y, finals, recordings, kept)

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
        at, slots = loop.at, loop.slots(shape, x, kept, rng)
        _put(slots, at["GY"], [gy])
        slots[at["GY_STRIDE"]] = 0 if gy is None else gy.stride(0)
        _put(slots, at["GX"], [gx])
        _put(slots, at["START_AT"], starts)
        _put(slots, at["PARAMS_AT"], [params[q] for q in self._order])
        _put(slots, at["GFINAL_AT"], gfinals)
        _put(slots, at["GTRACE_AT"], grecordings)
        for i, g in enumerate(grecordings, at["GTRACE_STRIDE_AT"]):
            slots[i] = 0 if g is None else g.stride(0)
        _put(slots, at["GSTART_AT"], gstarts)
        grads = computed.of(self.layout)
        _put(slots, at["GPARAM_AT"], [gparams[q] for q in grads])
        _put(slots, at["STORED_AT"], [stored[q] for q in grads])
        if size:
            loop(slots)
        return gx, gstarts, gparams

    def kept_elements(self, shape: Shape) -> int:
        """Return the size of what forward keeps: the states before every segment but the first."""
        return (shape.T - 1) // SEGMENT * len(self.states) * shape.size

    def outline(self) -> tuple[str, int]:
        """Return the C++ text, forward then backward, and how many steps lie between kept states."""
        wanted = Wanted(True, (True,) * len(self.parameters))
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

    def _ready(self, tensors: Sequence[Tensor | None], size: int | None = None) -> list[Tensor]:
        """Contiguous tensors of the computation's dtype, on the CPU, of `size` elements each; None stays None."""
        dtype = self.dtype
        for t in tensors:
            if t is not None and (t.dtype is not dtype or not t.is_cpu or (size is not None and t.numel() != size)):
                raise TypeError(
                    f"{self.name}: a fused scan on the CPU computes in {dtype} on steps of {size} elements, but "
                    f"got {t.dtype} of shape {list(t.shape)} on {t.device}"
                )
        return [t if t is None or t.is_contiguous() else t.contiguous() for t in tensors]  # type: ignore[misc]


def rows(x: Tensor, step: torch.Size) -> Tensor:
    """Return x [T, *step] or [*step] with each step contiguous, copied only where it is not; time has any stride."""
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


def _put(slots: array, at: int, tensors: Sequence[Tensor | None]) -> None:
    """Write down the addresses of a group."""
    for i, t in enumerate(tensors, at):
        if t is not None:
            slots[i] = t.data_ptr()


class Loop:
    """A compiled loop over time; called with its arguments in `slots`."""

    def __init__(self, name: str, text: str, slots: Slots):
        self._function = getattr(build.load(text), name)
        self._function.argtypes, self._function.restype = [build.ADDRESS], None
        self.at, self._empty = slots.at, slots.empty()
        self._empty[self.at["SEGMENT"]] = SEGMENT

    def slots(self, shape: Shape, x: Tensor, kept: Tensor | None, rng: Tensor | None) -> array:
        """Return the arguments, as far as both loops have them."""
        at, slots = self.at, self._empty[:]
        slots[at["THREADS"]] = 1 if _forked else torch.get_num_threads()
        slots[at["STEPS"]], slots[at["OUTER"]], slots[at["NEURONS"]], slots[at["INNER"]], _ = shape
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


os.register_at_fork(after_in_child=_after_fork)
