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
from .source import Layout, Wanted, backward_source, forward_source

SEGMENT = 10    # steps recomputed at a time: costs as little as keeping every state, in a tenth of the memory


class CppProgram:
    """The compiled code of one captured step in one layout; a `backends.program.Program`."""

    def __init__(self, step: TracedStep, layout: Layout, activations: tuple[Callable[[Tensor], Tensor] | None, ...]):
        self.step, self.layout, self.activations = step, layout, activations
        self.name, self.dtype, self.record, self.draws = step.name, step.dtype, step.record, step.draws > 0
        self.states, self.starts, self.parameters = step.states, step.starts, step.params
        self._order = layout.order()
        self._forward: Callable[[int], None] | None = None
        self._backward: dict[Wanted, Callable[[int], None]] = {}

    def forward(self, shape: Shape, x: Tensor, starts: Sequence[Tensor | None], values: Sequence[Tensor],
                rng: Tensor | None, keep: bool) -> Scanned:
        """Scan; see `Program`."""
        if self._forward is None:
            self._forward = _function(forward_source(self.step, self.layout), "forward")
        step, size = shape.step, shape.size
        y = _like(x)
        finals = _several(len(self.states), step, self.dtype)
        recordings = _several(len(self.record), x.shape, self.dtype)
        count = self.kept_elements(shape) if keep else 0
        kept = torch.empty(count, dtype=self.dtype) if count else None
        x, starts, params = rows(x, step), self._ready(starts, size), self._ready(values)
        slots = [*_numbers(shape, x, kept, rng), y.data_ptr(), 0, 0]
        slots += [0 if t is None else t.data_ptr() for t in starts]
        slots += [params[q].data_ptr() for q in self._order]
        slots += [t.data_ptr() for t in finals]
        slots += [t.data_ptr() for t in recordings]
        if size:
            _call(self._forward, slots)
        return Scanned(y, finals, recordings, kept)

    def backward(self, shape: Shape, wanted: Gradients, x: Tensor, starts: Sequence[Tensor | None],
                 given: Sequence[Tensor], values: Sequence[Tensor], rng: Tensor | None, kept: Tensor | None,
                 gy: Tensor | None, gfinals: Sequence[Tensor | None], grecordings: Sequence[Tensor | None],
                 ) -> tuple[Tensor | None, list[Tensor | None], list[Tensor | None]]:
        """Return the gradients that are wanted; see `Program`."""
        computed = Wanted(wanted.x, wanted.params)
        if computed not in self._backward:
            self._backward[computed] = _function(backward_source(self.step, self.layout, computed), "backward")
        step, size = shape.step, shape.size
        gx = _like(x) if wanted.x else None
        gstarts = [torch.empty(step, dtype=self.dtype) if want else None for want in wanted.starts]
        gparams = self._gradients(computed, shape)
        x, gy = rows(x, step), None if gy is None else rows(gy, step)
        grecordings = [None if g is None else rows(g, step) for g in grecordings]
        starts, gfinals = self._ready(starts, size), self._ready(gfinals, size)
        params, stored = self._ready(values), self._ready(given)
        slots = [*_numbers(shape, x, kept, rng), *((0, 0) if gy is None else (gy.data_ptr(), gy.stride(0)))]
        slots.append(0 if gx is None else gx.data_ptr())
        slots += [0 if t is None else t.data_ptr() for t in starts]
        slots += [params[q].data_ptr() for q in self._order]
        slots += [0 if t is None else t.data_ptr() for t in gfinals]
        slots += [0 if t is None else t.data_ptr() for t in grecordings]
        slots += [0 if t is None else t.stride(0) for t in grecordings]
        slots += [0 if t is None else t.data_ptr() for t in gstarts]
        slots += [g.data_ptr() for q in self._order if (g := gparams[q]) is not None]
        slots += [stored[q].data_ptr() for q in self._order if wanted.params[q]]
        if size:
            _call(self._backward[computed], slots)
        return gx, gstarts, gparams

    def kept_elements(self, shape: Shape) -> int:
        """Return the size of what forward keeps: the states before every segment but the first."""
        return (shape.T - 1) // SEGMENT * len(self.states) * shape.size

    def outline(self) -> tuple[str, int]:
        """Return the C++ text, forward then backward, and how many steps lie between kept states."""
        wanted = Wanted(True, (True,) * len(self.parameters))
        both = forward_source(self.step, self.layout), backward_source(self.step, self.layout, wanted)
        return "\n".join(both), SEGMENT

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


def _several(count: int, shape: Sequence[int], dtype: torch.dtype) -> list[Tensor]:
    if not count:
        return []
    first = torch.empty(shape, dtype=dtype)
    return [first, *(torch.empty_like(first) for _ in range(count - 1))]


def _function(text: str, name: str) -> Callable[[int], None]:
    function = getattr(build.load(text), name)
    function.argtypes, function.restype = [build.ADDRESS], None
    return function


def _numbers(shape: Shape, x: Tensor, kept: Tensor | None, rng: Tensor | None) -> list[int]:
    """What loop.h calls the arguments, as far as both loops have them."""
    steps, outer, neurons, inner, _ = shape
    threads = 1 if _forked else torch.get_num_threads()
    seed, position = (0, 0) if rng is None else rng.tolist()
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
