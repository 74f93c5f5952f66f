"""The activations of parameters, as far as the backward of a kernel leads through them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from types import BuiltinFunctionType

import torch
from torch import Tensor

from ..pipeline import Step
from .capture import CannotCapture, derivative
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
    except CannotCapture:
        return None


def activations_in_kernel(step: Step, names: Iterable[str], dtype: torch.dtype) -> tuple[Activation | None, ...]:
    """Return for each parameter the activation that a kernel leads through, None where there is none."""
    activations = map(step.activations.get, names)
    return tuple([a if derivative_of(a, dtype) else None for a in activations])
