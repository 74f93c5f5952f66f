"""What a fused backend hands over: a program that scans forward and backward, and the layout of a scan."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from .memory import Lie


class Refused(Exception):
    """A backend can't run a step; the text says why."""


class Shape(NamedTuple):
    """T steps of [outer, N, inner], the `inner` elements of a neuron next to one another; `step` is as users see it.

    `lie` is None where what the scan writes is contiguous.
    """

    T: int
    outer: int
    N: int
    inner: int
    step: torch.Size = torch.Size()
    lie: Lie | None = None

    @property
    def size(self) -> int:
        """Elements of one step."""
        return self.outer * self.N * self.inner


def shape_of(steps: int, step: torch.Size, dim: int) -> Shape:
    """Return the layout of so many steps of shape `step`, whose neurons lie along `dim`, counted from the front."""
    return Shape(steps, math.prod(step[:dim]), step[dim], math.prod(step[dim + 1 :]), step)


class Gradients(NamedTuple):
    """Which gradients backward is to compute: of x, of each start state and of each parameter."""

    x: bool
    starts: tuple[bool, ...]
    params: tuple[bool, ...]


class Scanned(NamedTuple):
    """What a scan gives: output, final states, recordings, and what backward needs of the states on the way."""

    y: Tensor
    finals: Sequence[Tensor]
    recordings: Sequence[Tensor]
    kept: Tensor | None = None


class Program(Protocol):
    """One step, compiled for one layout of its parameters; `forward` and `backward` run it over time.

    x is [T, *step], or [*step] for one step, in the dtype of the output. Start states are [*step], or None: start
    anew. Everything but x, y and their gradients is in `dtype`.

    Attributes:
        name: of the layer.
        dtype: of the computation.
        states, starts: names of the states, and what they start from.
        parameters: names of the parameters, in the order in which they are given.
        record: names of what is recorded.
        activations: for each parameter the function from what is given to its value, through which backward leads;
            None where the value itself is given.
        draws: whether a step draws random numbers: then `rng` is its int64 pair (seed, position).
        whole: whether the steps of every input must be contiguous.
        from_output: whether backward reads the output, and is given that in the place of x.
        same: says of pairs of numbers in memory whether they are equal (see `Values`); None where the host can't look.
    """

    name: str
    dtype: torch.dtype
    states: tuple[str, ...]
    starts: tuple[float, ...]
    parameters: tuple[str, ...]
    record: tuple[str, ...]
    activations: tuple[Callable[[Tensor], Tensor] | None, ...]
    draws: bool
    whole: bool
    from_output: bool
    same: Callable[[int], bool] | None

    def lay(self, shape: Shape, dim: int, x: Tensor) -> tuple[Shape, Tensor]:
        """Return how to scan an input that isn't contiguous, its neurons along `dim`, copied if it can't be read so."""

    def forward(self, shape: Shape, x: Tensor, starts: Sequence[Tensor | None], values: Sequence[Tensor],
                rng: Tensor | None, keep: bool) -> Scanned:
        """Scan; `keep` what backward needs."""

    def prepare(self, x: bool, parameters: tuple[bool, ...]) -> None:
        """Make backward ready for the gradients of x and of those parameters; raises RuntimeError."""

    def backward(self, shape: Shape, wanted: Gradients, x: Tensor, starts: Sequence[Tensor | None],
                 given: Sequence[Tensor], values: Sequence[Tensor], rng: Tensor | None, kept: Tensor | None,
                 gy: Tensor | None, gfinals: Sequence[Tensor | None], grecordings: Sequence[Tensor | None],
                 ) -> tuple[Tensor | None, Sequence[Tensor | None], Sequence[Tensor | None]]:
        """Return the gradients of x, of the start states and of the parameters as given; None where not wanted."""

    def kept_elements(self, shape: Shape) -> int:
        """Return how many elements `forward` keeps for backward."""

    def outline(self) -> tuple[str, int]:
        """Return the generated text, and how many steps lie between kept states."""
