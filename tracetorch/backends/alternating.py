"""A step whose output is led back, for backends without a loop that holds the product: one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ..looped import FED, path_names
from .program import Gradients, Program, Scanned, Shape


class Alternating:
    """A product of torch's, then one step of a program, and so on; a `backends.program.Program`.

    Kept are every drive and the states before every step.
    """

    from_output = False
    whole = True

    def __init__(self, program: Program, biased: bool) -> None:
        path = path_names(biased)
        self.program, self._own, self.same = program, len(program.parameters), program.same
        self.name, self.dtype, self.record, self.draws = program.name, program.dtype, program.record, program.draws
        self.states, self.starts, self._fed = program.states, program.starts, program.states.index(FED)
        self.parameters = (*program.parameters, *path)
        self.activations = (*program.activations, *[None] * len(path))

    def lay(self, shape: Shape, dim: int, x: Tensor) -> tuple[Shape, Tensor]:
        """Return a contiguous input; see `Program`."""
        return shape, x.resolve_neg().contiguous()

    def forward(self, shape: Shape, x: Tensor, starts: Sequence[Tensor | None], values: Sequence[Tensor],
                rng: Tensor | None, keep: bool) -> Scanned:
        """Scan; see `Program`."""
        one, own, path = shape._replace(T=1), values[: self._own], values[self._own :]
        steps = x.view(shape.T, *shape.step)
        now: Sequence[Tensor] = [x.new_full(shape.step, value) if start is None else start
               for start, value in zip(starts, self.starts, strict=True)]
        y, recordings = torch.empty_like(steps), [torch.empty_like(steps) for _ in self.record]
        drives, before = [], []
        for t, x_t in enumerate(steps):
            drive = x_t + F.linear(now[self._fed], *path)
            if keep:
                drives.append(drive)
                before += list(now)
            y[t], now, recorded, _ = self.program.forward(one, drive, now, own, _later(rng, t), False)
            for recording, value in zip(recordings, recorded, strict=True):
                recording[t] = value
        kept = torch.stack([*drives, *before]) if keep else None
        return Scanned(y.view(x.shape), now, [r.view(x.shape) for r in recordings], kept)

    def prepare(self, x: bool, parameters: tuple[bool, ...]) -> None:
        """Make one step ready; see `Program`."""
        self.program.prepare(True, parameters[: self._own])

    def backward(self, shape: Shape, wanted: Gradients, x: Tensor, starts: Sequence[Tensor | None],
                 given: Sequence[Tensor], values: Sequence[Tensor], rng: Tensor | None, kept: Tensor | None,
                 gy: Tensor | None, gfinals: Sequence[Tensor | None], grecordings: Sequence[Tensor | None],
                 ) -> tuple[Tensor | None, Sequence[Tensor | None], Sequence[Tensor | None]]:
        """Return the gradients that are wanted; see `Program`."""
        assert kept is not None
        count, T = len(self.states), shape.T
        kept = kept.view(T * (1 + count), *shape.step)
        drives, before = kept[:T], kept[T:].view(T, count, *shape.step)
        weight, one = values[self._own], shape._replace(T=1)
        inside = Gradients(True, (True,) * count, wanted.params[: self._own])
        gdrive = torch.empty_like(drives)
        sums: list[Tensor | None] = [None] * self._own
        gstates: Sequence[Tensor | None] = gfinals
        nothing = drives.new_empty(0)
        rows = [None if g is None else g.view(T, *shape.step) for g in (gy, *grecordings)]
        for t in reversed(range(T)):
            gy_t, *grecorded = [None if g is None else g[t] for g in rows]
            gx, before_t, gparams = self.program.backward(
                one, inside, drives[t], before[t].unbind(), given[: self._own],
                values[: self._own], _later(rng, t), nothing, gy_t, gstates, grecorded)
            gdrive[t] = gx  # type: ignore[assignment]
            gstates = [*before_t]
            gstates[self._fed] = torch.add(before_t[self._fed], gdrive[t] @ weight)  # type: ignore[arg-type]
            sums = [g if total is None or g is None else total + g for total, g in zip(sums, gparams, strict=True)]
        g, fed = gdrive.flatten(0, -2), before[:, self._fed].flatten(0, -2)
        both = g.T @ fed, g.sum(0)
        gpath = [value if want else None for value, want in zip(both, wanted.params[self._own :], strict=False)]
        gstarts = [value if want else None for value, want in zip(gstates, wanted.starts, strict=True)]
        return gdrive.view(x.shape) if wanted.x else None, gstarts, [*sums, *gpath]

    def kept_elements(self, shape: Shape) -> int:
        """Return the size of what forward keeps: every drive, and the states before every step."""
        return shape.T * (1 + len(self.states)) * shape.size

    def outline(self) -> tuple[str, int]:
        """Return the text of one step, and how many steps lie between kept states."""
        return self.program.outline()[0], 1


def _later(rng: Tensor | None, steps: int) -> Tensor | None:
    """Return the key of a later step."""
    return None if rng is None else torch.stack([rng[0], rng[1] + steps])
