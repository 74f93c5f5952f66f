"""The activations of parameters, as far as the backward of a kernel leads through them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from types import BuiltinFunctionType

import torch
from torch import Tensor

from ..pipeline import Step
from .capture import CannotTrace, derivative
from .code import Body

Activation = Callable[[Tensor], Tensor]


@cache
def derivative_of(activation: Activation | None, dtype: torch.dtype) -> Body | None:
    """Return the derivative of an activation as code; None where there is no need or no way.

    Of those that users write in Python there is none: their code may change from call to call.
    """
    if activation is None or not isinstance(activation, BuiltinFunctionType):
        return None
    try:
        return derivative(activation, dtype)
    except CannotTrace:
        return None


def inside(step: Step, names: Iterable[str], dtype: torch.dtype) -> tuple[Activation | None, ...]:
    """Return for each parameter the activation that a kernel leads through, None where there is none."""
    activations = map(step.activations.get, names)
    return tuple([a if derivative_of(a, dtype) else None for a in activations])


def around(step: Step, stored: dict[str, Tensor], activations: Sequence[Activation | None]) -> list[Tensor]:
    """Return what the kernel is given: parameters as stored where it leads through their activation, else values."""
    outside = {n: p for (n, p), a in zip(stored.items(), activations, strict=True) if a is None}
    return list((stored | step.values(outside)).values())


def values(activations: Sequence[Activation | None], given: Sequence[Tensor]) -> list[Tensor]:
    """Return the values of the parameters from what the kernel is given."""
    return [p if a is None else a(p) for a, p in zip(activations, given, strict=True)]
