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


def state_rooms(shape: Shape, dtype: torch.dtype, wanted: Sequence[bool], like: Tensor | None = None,
                ) -> list[Tensor | None]:
    """Empty tensors for states, or for their gradients, where wanted; `like`: one of their size, dtype and layout."""
    rooms: list[Tensor | None] = []
    for want in wanted:
        if not want:
            rooms.append(None)
        elif like is not None:
            rooms.append(torch.empty_like(like))        # the fastest way again
        elif shape.lie is not None:
            rooms.append(torch.empty(shape.lie.sizes, dtype=dtype).permute(shape.lie.back))
        else:
            like = torch.empty(shape.step, dtype=dtype)
            rooms.append(like)
    return rooms


def outputs(shape: Shape, x: Tensor, states: int, recordings: int, dtype: torch.dtype) -> list[Tensor]:
    """Room for the output, final states and recordings."""
    y = room(x, shape.lie)
    like = y if y.dtype is dtype and y.shape == shape.step and shape.lie is None else None
    rooms = [y, *state_rooms(shape, dtype, (True,) * states, like)]
    if recordings:
        rooms += [torch.empty_like(y, dtype=dtype) for _ in range(recordings)]
    return rooms    # type: ignore[return-value]


def put(slots: array, at: int, tensors: Sequence[Tensor | None], more: array | None = None) -> None:
    """Write down addresses, one after another, and those that are known already after them."""
    addresses = array("q", [0 if t is None else t.data_ptr() for t in tensors])
    if more is not None:
        addresses.extend(more)
    slots[at : at + len(addresses)] = addresses


def put_places(slots: array, at: int, found: Sequence[Places | None]) -> None:
    """Write down where tensors lie, one after another; None leaves what is there."""
    for here in found:
        if here is not None:
            slots[at : at + 3] = array("q", here)
        at += 3
