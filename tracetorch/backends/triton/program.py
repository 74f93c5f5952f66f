"""A chain of stages as a program: what the kernels are launched with, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..program import Gradients, Scanned, Shape
from . import launch
from .activations import through
from .chain import Chain


class TritonProgram:
    """The kernels of one chain; a `backends.program.Program`."""

    same: Callable[[int], bool] | None = None
    from_output = False
    whole = True

    def __init__(self, name: str, chain: Chain, dtype: torch.dtype, record: tuple[str, ...],
                 activations: tuple[Callable[[Tensor], Tensor] | None, ...]):
        self.name, self.chain, self.dtype, self.record, self.activations = name, chain, dtype, record, activations
        self.states, self.starts, self.parameters, self.draws = chain.states, chain.init, chain.parameters, chain.draws

    def lay(self, shape: Shape, dim: int, x: Tensor) -> tuple[Shape, Tensor]:
        """Return an input, copied where its steps are not contiguous; see `Program`."""
        return shape, launch.rows(x.resolve_neg(), shape.step)[0]

    def forward(self, shape: Shape, x: Tensor, starts: Sequence[Tensor | None], values: Sequence[Tensor],
                rng: Tensor | None, keep: bool) -> Scanned:
        """Scan; see `Program`."""
        x = x.resolve_neg()
        return launch.forward(self.chain, shape, x, self._complete(starts, x), values, rng, self.dtype, keep)

    def prepare(self, x: bool, parameters: tuple[bool, ...]) -> None:
        """Kernels are compiled as they are launched; see `Program`."""

    def backward(self, shape: Shape, wanted: Gradients, x: Tensor, starts: Sequence[Tensor | None],
                 given: Sequence[Tensor], values: Sequence[Tensor], rng: Tensor | None, kept: Tensor | None,
                 gy: Tensor | None, gfinals: Sequence[Tensor | None], grecordings: Sequence[Tensor | None],
                 ) -> tuple[Tensor | None, Sequence[Tensor | None], Sequence[Tensor | None]]:
        """Return the gradients that are wanted; see `Program`."""
        x, gy = x.resolve_neg(), None if gy is None else gy.resolve_neg()
        gx, gstarts, sums = launch.backward(
            self.chain, shape, x, gy, self._complete(starts, x), kept, gfinals, grecordings, values, rng, self.dtype,
            (wanted.x, any(wanted.starts), any(wanted.params)),
        )  # fmt: skip
        gparams: Sequence[Tensor | None] = [None] * len(given)
        if sums is not None:
            gparams = launch.per_parameter(through(sums, given, self.activations), given)
            gparams = [g if want else None for g, want in zip(gparams, wanted.params, strict=True)]
        if gstarts is None:
            return gx, [None] * len(starts), gparams
        return gx, [g if want else None for g, want in zip(gstarts, wanted.starts, strict=True)], gparams

    def kept_elements(self, shape: Shape) -> int:
        """Return the size of what forward keeps: the states before every segment but the first."""
        return launch.checkpoints(self.chain, shape, self.dtype) * len(self.states) * shape.size

    def outline(self) -> tuple[str, int]:
        """Return the Triton text of the stages, and how many steps lie between kept states."""
        return self.chain.text, launch.steps_of(self.chain, launch.STEPS, self.dtype)

    def _complete(self, starts: Sequence[Tensor | None], x: Tensor) -> list[Tensor] | None:
        """Return all start states, or None where every one starts anew: kernels read either."""
        if all(s is None for s in starts):
            return None
        shape = next(s.shape for s in starts if s is not None)
        return [x.new_full(shape, value, dtype=self.dtype) if s is None else s
                for s, value in zip(starts, self.starts, strict=True)]
