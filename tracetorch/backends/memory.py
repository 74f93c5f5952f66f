"""How the tensors of a scan lie in memory: which are read and written in place, and what has to be copied."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch


class Places(NamedTuple):
    """The steps are `stride` apart; a step is pieces of `piece` elements side by side, each `apart` from the last."""

    stride: int
    piece: int
    apart: int


class Lie(NamedTuple):
    """How a scan of an input that is not contiguous writes.

    order: the dimensions of a step as its elements follow one another, outermost first; so lie the states. back: the
    way back from it. sizes: of a step in this order. strides: of the output [T, *step]. x, out: the places of input
    and output.
    """

    order: tuple[int, ...]
    back: tuple[int, ...]
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    x: Places
    out: Places

    @property
    def is_natural(self) -> bool:
        """Whether the dimensions follow one another as they are."""
        return self.order == tuple(range(len(self.order)))

    def split_at(self, dim: int) -> tuple[int, int, int]:
        """Return the elements of a step outside dimension `dim`, along it, and inside of it."""
        at = self.order.index(dim)
        return math.prod(self.sizes[:at]), self.sizes[at], math.prod(self.sizes[at + 1 :])


def places(sizes: tuple[int, ...], strides: tuple[int, ...], order: tuple[int, ...]) -> Places | None:
    """Return where the elements of a tensor [T, *step] or [*step] are, taken in an order; None if not in such places.

    Args:
        sizes, strides: of the tensor.
        order: the dimensions of a step, outermost first.
    """
    lead = len(sizes) - len(order)
    runs: list[tuple[int, int]] = []        # from the inside: how many elements, at what distance
    for d in reversed(order):
        size, stride = sizes[lead + d], strides[lead + d]
        if size == 1:
            continue
        if runs and stride == runs[-1][0] * runs[-1][1]:
            runs[-1] = runs[-1][0] * size, runs[-1][1]
        else:
            runs.append((size, stride))
    if not runs or runs[0][1] != 1:
        runs.insert(0, (1, 1))
    if len(runs) > 2:
        return None
    return Places(strides[0] if lead else 0, runs[0][0], runs[1][1] if len(runs) == 2 else 0)


def lie_of(sizes: tuple[int, ...], strides: tuple[int, ...], ndim: int, fixed: bool) -> Lie | None:
    """Return how a scan of such an input writes, so that it reads in place; None where the input must be copied.

    Args:
        sizes, strides: of the input [T, *step], or [*step] with `ndim` dimensions.
        fixed: whether elements keep their order: their random numbers go by it.
    """
    lead, natural = len(sizes) - ndim, tuple(range(ndim))
    x = torch.empty_strided(sizes, strides, device="meta")
    out = torch.empty_like(x).stride()      # PyTorch's own: as x where x is dense, else in the order of its strides
    by_stride = tuple(sorted(natural, key=lambda d: (sizes[lead + d] > 1, -strides[lead + d])))
    for order in (natural,) if fixed else (natural, by_stride):
        read, written = places(sizes, strides, order), places(sizes, out, order)
        if read is not None and written is not None:
            back = tuple(order.index(d) for d in natural)
            return Lie(order, back, tuple(sizes[lead + d] for d in order), out, read, written)
    return None
