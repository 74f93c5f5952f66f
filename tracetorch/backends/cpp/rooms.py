"""The tensors of a scan on the CPU: room for what it writes, and what it reads, copied only where it must be."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from ..memory import Lie, Places, lie_of, places
from ..program import Shape


def lay(shape: Shape, dim: int, x: Tensor, fixed: bool) -> tuple[Shape, Tensor]:
    """Return how to scan an input that is not contiguous, copied where it can't be read as it lies."""
    x = x.resolve_neg()
    found = _laid(shape, dim, x.shape, x.stride(), fixed)
    return (shape, x.contiguous()) if found is None else (found, x)


@lru_cache(maxsize=256)
def _laid(shape: Shape, dim: int, sizes: tuple[int, ...], strides: tuple[int, ...], fixed: bool) -> Shape | None:
    lie = lie_of(sizes, strides, len(shape.step), fixed)
    if lie is None:
        return None
    outer, N, inner = lie.split_at(dim)
    return shape._replace(outer=outer, N=N, inner=inner, lie=lie)


def placed(x: Tensor, shape: Shape, whole: bool = False) -> tuple[Tensor, Places | None]:
    """Return a tensor [T, *step] or [*step], copied where it can't be read as it lies, and where; None: contiguous.

    `whole`: its steps must be contiguous.
    """
    lie, x = shape.lie, x.resolve_neg() if x.is_neg() else x
    if x.is_contiguous() and (lie is None or lie.is_natural):
        return x, None
    order = tuple(range(len(shape.step))) if lie is None else lie.order
    found = places(x.shape, x.stride(), order)
    if found is not None and (found.piece == shape.size or not whole):
        return x, found
    return (x.contiguous(), None) if lie is None else (room(x, lie).copy_(x), lie.out)


def room(x: Tensor, lie: Lie | None) -> Tensor:
    """An empty tensor like `x` that lies as outputs do; empty_like is the fastest way to a contiguous one."""
    if lie is not None:
        return torch.empty_strided(x.shape, lie.strides, dtype=x.dtype)
    return torch.empty_like(x) if x.is_contiguous() else torch.empty(x.shape, dtype=x.dtype)


def state_room(shape: Shape, dtype: torch.dtype) -> Tensor:
    """An empty tensor for a state, or for its gradient."""
    if shape.lie is not None:
        return torch.empty(shape.lie.sizes, dtype=dtype).permute(shape.lie.back)
    return torch.empty(shape.step, dtype=dtype)


def outputs(shape: Shape, x: Tensor, states: int, recordings: int, dtype: torch.dtype) -> list[Tensor]:
    """Room for the output, final states and recordings."""
    y = room(x, shape.lie)
    rooms = [y]
    if states:
        like = y.dtype is dtype and y.shape == shape.step and shape.lie is None     # the fastest way again
        first = torch.empty_like(y) if like else state_room(shape, dtype)
        rooms += [first, *[torch.empty_like(first) for _ in range(states - 1)]]
    if recordings:
        rooms += [torch.empty_like(y, dtype=dtype) for _ in range(recordings)]
    return rooms


def put(slots: array, at: int, tensors: Sequence[Tensor | None]) -> None:
    """Write down addresses, one after another."""
    slots[at : at + len(tensors)] = array("q", [0 if t is None else t.data_ptr() for t in tensors])


def put_places(slots: array, at: int, found: Sequence[Places | None]) -> None:
    """Write down where tensors lie, one after another; None leaves what is there."""
    for here in found:
        if here is not None:
            slots[at : at + 3] = array("q", here)
        at += 3
