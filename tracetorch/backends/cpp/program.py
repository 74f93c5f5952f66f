"""A compiled step: its libraries, loaded when first needed, and calls that pass them addresses."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ...fusion.capture import CapturedStep
from ..memory import Places
from ..program import Gradients, Scanned, Shape
from ..values import Remembered
from . import build, rooms, threads
from .slots import Slots
from .source import Computed, Layout, backward_source, forward_source

SEGMENT = 10    # steps recomputed at a time: costs as little as keeping every state, in a tenth of the memory


class CppProgram:
    """The compiled code of one captured step in one layout; a `backends.program.Program`."""

    from_output = False
    whole = False

    def __init__(self, step: CapturedStep, layout: Layout, activations: tuple[Callable[[Tensor], Tensor] | None, ...]):
        self.step, self.layout, self.activations = step, layout, activations
        self.name, self.dtype, self.record, self.draws = step.name, step.dtype, step.record, step.draws > 0
        self.states, self.starts, self.parameters = step.states, step.starts, step.params
        self._order = layout.order()
        self.same: Callable[[int], bool] | None = None
        self._forward: Loop | None = None
        self._backward: dict[Computed, tuple[Loop, list[int]]] = {}
        self._last: tuple[Remembered, list[Tensor], array] | None = None

    def ready(self) -> Loop:
        """Return the loop forward in time, compiled by the first call."""
        if self._forward is None:
            self._forward = Loop("forward", *forward_source(self.step, self.layout))
            self.same = self._forward.same
        return self._forward

    def _backward_of(self, computed: Computed) -> tuple[Loop, list[int]]:
        """Return the loop backward in time, and the parameters whose gradients it gives, in its order."""
        found = self._backward.get(computed)
        if found is None:
            loop = Loop("backward", *backward_source(self.step, self.layout, computed))
            found = self._backward[computed] = loop, computed.of(self.layout)
        return found

    def lay(self, shape: Shape, dim: int, x: Tensor) -> tuple[Shape, Tensor]:
        """Return how to scan an input that is not contiguous; see `Program`."""
        return rooms.lay(shape, dim, x, self.draws)

    def forward(self, shape: Shape, x: Tensor, starts: Sequence[Tensor | None], values: Sequence[Tensor],
                rng: Tensor | None, keep: bool) -> Scanned:
        """Scan; see `Program`."""
        loop = self._forward or self.ready()
        outputs = rooms.outputs(shape, x, len(self.states), len(self.record), self.dtype)
        count = self.kept_elements(shape) if keep else 0
        kept = torch.empty(count, dtype=self.dtype) if count else None
        x, there = rooms.placed(x, shape, self.whole)
        values, addresses = self._at(values)
        starts = self._ready(starts, shape)
        slots = loop.slots(shape, x, there, kept, rng)
        rooms.put(slots, loop.at["Y"], [*outputs, *starts], addresses)
        if x.numel():
            self._call(loop, slots, shape, values, kept)
        states = 1 + len(self.states)
        return Scanned(outputs[0], outputs[1:states], outputs[states:], kept)

    def prepare(self, x: bool, parameters: tuple[bool, ...]) -> None:
        """Compile the loop backward in time; see `Program`."""
        self._backward_of(Computed(x, parameters))

    def backward(self, shape: Shape, wanted: Gradients, x: Tensor, starts: Sequence[Tensor | None],
                 given: Sequence[Tensor], values: Sequence[Tensor], rng: Tensor | None, kept: Tensor | None,
                 gy: Tensor | None, gfinals: Sequence[Tensor | None], grecordings: Sequence[Tensor | None],
                 ) -> tuple[Tensor | None, list[Tensor | None], list[Tensor | None]]:
        """Return the gradients that are wanted; see `Program`."""
        loop, grads = self._backward_of(Computed(wanted.x, wanted.params))
        gx = rooms.room(x, shape.lie) if wanted.x else None
        room = torch.empty_like if x.numel() else torch.zeros_like      # zeros if nothing runs
        x, there = rooms.placed(x, shape, self.whole)
        given_back = [(None, None) if g is None else rooms.placed(g, shape, self.whole) for g in (gy, *grecordings)]
        gy, *grecordings = [g for g, _ in given_back]
        starts, gfinals = self._ready(starts, shape), self._ready(gfinals, shape)
        gstarts = rooms.state_rooms(shape, self.dtype, wanted.starts, starts[0] if starts and not shape.lie else None)
        (values, addresses), stored = self._at(values), self._ready(given)
        gparams = [room(value) if want else None for value, want in zip(values, wanted.params, strict=False)]
        slots = loop.slots(shape, x, there, kept, rng)
        rooms.put_places(slots, loop.at["GY_STRIDE"], [there for _, there in given_back])
        rooms.put(slots, loop.at["GY"], [gy, gx, *starts], addresses)
        rooms.put(slots, loop.at["GFINAL_AT"], [
            *gfinals, *grecordings, *gstarts, *[gparams[q] for q in grads], *[stored[q] for q in grads]])
        if x.numel():
            self._call(loop, slots, shape, values, kept)
        return gx, gstarts, gparams

    def _call(self, loop: Loop, slots: array, shape: Shape, values: Sequence[Tensor], kept: Tensor | None) -> None:
        """Run a loop over time."""
        loop(slots)

    def kept_elements(self, shape: Shape) -> int:
        """Return the size of what forward keeps: the states before every segment but the first."""
        return (shape.T - 1) // SEGMENT * len(self.states) * shape.size

    def outline(self) -> tuple[str, int]:
        """Return the C++ text, forward then backward, and how many steps lie between kept states."""
        every = Computed(True, (True,) * len(self.layout.vectors))
        both = forward_source(self.step, self.layout), backward_source(self.step, self.layout, every)
        return "\n".join(text for text, _ in both), SEGMENT

    def _at(self, values: Sequence[Tensor]) -> tuple[Sequence[Tensor], array]:
        """Return the values of the parameters side by side, and their addresses in the order of the kernel."""
        last = self._last
        if last is not None and last[0] is values:
            return last[1:]
        ready = self._ready(values)
        addresses = array("q", [ready[q].data_ptr() for q in self._order])
        if isinstance(values, Remembered):
            self._last = values, ready, addresses
        return ready, addresses

    def _ready(self, tensors: Sequence[Any], shape: Shape | None = None) -> list[Any]:
        """Parameters, or states of `shape`, in the dtype of the computation and side by side; None stays None."""
        dtype, size = self.dtype, None if shape is None else shape.size
        for t in tensors:
            if t is not None and (t.dtype is not dtype or not t.is_cpu or (size is not None and t.numel() != size)):
                raise TypeError(
                    f"{self.name}: a fused scan on the CPU computes in {dtype} on steps of {size} elements, but "
                    f"got {t.dtype} of shape {list(t.shape)} on {t.device}"
                )
        if shape is not None and shape.lie is not None:
            tensors = [None if t is None else t.permute(shape.lie.order) for t in tensors]
        return [t if t is None or (t.is_contiguous() and not t.is_neg()) else t.resolve_neg().contiguous()
                for t in tensors]


class Loop:
    """A compiled loop over time; called with its arguments in `slots`."""

    def __init__(self, name: str, text: str, slots: Slots):
        library = build.load(text)
        self._function, self.same = getattr(library, name), library.same
        self._function.argtypes, self._function.restype = [build.ADDRESS], None
        self.same.argtypes = [build.ADDRESS]
        self.at, self._slots = slots.at, slots
        self._last: tuple[Shape, array] | None = None

    def slots(self, shape: Shape, x: Tensor, there: Places | None, kept: Tensor | None, rng: Tensor | None) -> array:
        """Return the arguments, as far as both loops have them; what lies anywhere is contiguous until written over."""
        at, last = self.at, self._last
        if last is None or last[0] is not shape:
            last = self._last = shape, self._shaped(shape)
        slots = last[1][:]
        slots[at["THREADS"]] = threads.count()
        slots[at["X"]] = x.data_ptr()
        if there is not None:
            rooms.put_places(slots, at["X_STRIDE"], [there])
        if kept is not None:
            slots[at["CHECKPOINTS"]] = kept.data_ptr()
        if rng is not None:
            slots[at["SEED"]], slots[at["POSITION"]] = rng.tolist()
        return slots

    def _shaped(self, shape: Shape) -> array:
        T, outer, N, inner, _, lie = shape
        slots = self._slots.filled(STEPS=T, OUTER=outer, NEURONS=N, INNER=inner, SEGMENT=SEGMENT)
        contiguous = Places(shape.size, max(shape.size, 1), 0)
        for at in self._slots.places:
            rooms.put_places(slots, at, [contiguous])
        if lie is not None:
            rooms.put_places(slots, self.at["OUT_STRIDE"], [lie.out])
        return slots

    def __call__(self, slots: array) -> None:
        self._function(slots.buffer_info()[0])
