"""From NIR's other nodes to modules of torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .modules import Scale, SumPool2d, Threshold
from .neurons import Clock, Shape, number
from .report import Refused

CONVOLUTIONS: dict[str, Callable[..., nn.Module]] = {"Conv1d": nn.Conv1d, "Conv2d": nn.Conv2d}


def weights(kind: str, node: Any, clock: Clock) -> nn.Module:
    """Return nn.Linear for Linear and Affine."""
    weight = number(node.weight)
    if weight.ndim != 2:
        raise Refused(f"its weight has shape {list(weight.shape)}; two dimensions are allowed, [out, in]")
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=kind == "Affine", dtype=clock.dtype)
    return _filled(made, weight=weight, **({"bias": number(node.bias)} if kind == "Affine" else {}))


def convolution(kind: str, node: Any, clock: Clock) -> nn.Module:
    """Return nn.Conv1d or nn.Conv2d."""
    weight, groups = number(node.weight), int(node.groups)
    dims = int(kind[4])
    if weight.ndim != dims + 2:
        raise Refused(f"its weight has shape {list(weight.shape)}; {dims + 2} dimensions are allowed")
    how = {name: getattr(node, name) if isinstance(getattr(node, name), str) else sizes(getattr(node, name), dims)
           for name in ("stride", "padding", "dilation")}
    try:
        made = CONVOLUTIONS[kind](weight.shape[1] * groups, weight.shape[0], tuple(weight.shape[2:]),
                                  groups=groups, dtype=clock.dtype, **how)
    except ValueError as error:
        raise Refused(str(error)) from None
    return _filled(made, weight=weight, bias=number(node.bias))


def pool(kind: str, node: Any, clock: Clock) -> nn.Module:
    """Return nn.AvgPool2d, zeros of the padding counted, or SumPool2d."""
    how = (sizes(node.kernel_size, 2), sizes(node.stride, 2), sizes(node.padding, 2))
    return nn.AvgPool2d(*how) if kind == "AvgPool2d" else SumPool2d(*how)   # type: ignore[arg-type]


def flatten(kind: str, node: Any, clock: Clock) -> nn.Module:
    """Return nn.Flatten, which counts the batch as well."""
    start, end = int(node.start_dim), int(node.end_dim)
    return nn.Flatten(start + 1 if start >= 0 else start, end + 1 if end >= 0 else end)


def scale(kind: str, node: Any, clock: Clock) -> nn.Module:
    """Return Scale."""
    return Scale(number(node.scale).to(clock.dtype))


def threshold(kind: str, node: Any, clock: Clock) -> nn.Module:
    """Return Threshold."""
    return Threshold(number(node.threshold).to(clock.dtype))


STATELESS: dict[str, Callable[[str, Any, Clock], nn.Module]] = {
    "Affine": weights, "Linear": weights, "Conv1d": convolution, "Conv2d": convolution, "AvgPool2d": pool,
    "SumPool2d": pool, "Flatten": flatten, "Scale": scale, "Threshold": threshold,
}


def expected(kind: str, node: Any) -> Shape | None:
    """Return the shape that a node without a state takes, where it says so."""
    if kind in ("Affine", "Linear"):
        return (int(np.shape(node.weight)[-1]),)
    if kind in CONVOLUTIONS:
        place = None if node.input_shape is None else sizes(node.input_shape, int(kind[4]))
        return None if place is None else (int(np.shape(node.weight)[1]) * int(node.groups), *place)
    if kind in ("Scale", "Threshold"):
        return np.shape(node.scale if kind == "Scale" else node.threshold)
    return shape_of(node.input_type, "input")


def shape_of(types: Any, key: str) -> Shape | None:
    """Return a shape from a node's `input_type` or `output_type`."""
    found = types.get(key) if isinstance(types, dict) else None
    return None if found is None else tuple(int(size) for size in found)


DIMS: dict[type[nn.Module], int] = {nn.Conv1d: 2, nn.Conv2d: 3, nn.AvgPool2d: 3, SumPool2d: 3}
"""Dimensions of a step, where torch would take another number for a step without a batch."""


def after(module: nn.Module, shape: Shape) -> Shape:
    """Return the shape of a step after a module without a state."""
    wanted = DIMS.get(type(module), len(shape))
    if len(shape) != wanted:
        raise Refused(f"it takes steps of {wanted} dimensions, channels first, and gets {list(shape)}")
    like = next(module.parameters(), torch.zeros(()))
    try:
        with torch.no_grad():
            return tuple(module(torch.zeros(1, *shape, dtype=like.dtype, device=like.device)).shape[1:])
    except (RuntimeError, IndexError) as error:
        raise Refused(f"an input of shape {list(shape)} does not fit: {error}") from None


def sizes(value: Any, dims: int) -> tuple[int, ...]:
    """Return one whole number for each dimension."""
    found = np.broadcast_to(np.asarray(value), (dims,))
    return tuple(int(size) for size in found)


def _filled(module: nn.Module, **values: Tensor) -> nn.Module:
    with torch.no_grad():
        for name, value in values.items():
            target = getattr(module, name)
            if target.shape != value.shape:
                raise Refused(f"its {name} has shape {list(value.shape)}, allowed is {list(target.shape)}")
            target.copy_(value)
    return module
