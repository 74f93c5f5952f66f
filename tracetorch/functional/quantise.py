"""Quantisers: exact discrete values forward, a straight-through gradient backward."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .random import uniform


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, path, value):
        ctx.own = path is None
        return value(x)

    @staticmethod
    def backward(ctx, grad):
        return (grad, None, None) if ctx.own else (None, grad, None)


def straight_through(value: Callable[[Tensor], Tensor], x: Tensor, path: Tensor | None = None) -> Tensor:
    """Return value(x), bit for bit, whose gradient goes unchanged to `path` (default: x).

    Not `path + (value(x) - path).detach()`: that rounds twice, and turns infinities into NaN.
    """
    return _StraightThrough.apply(x, path, value)


@dataclass(frozen=True)
class _Rounding:
    _round: ClassVar[Callable[..., Tensor]]
    step_size: float = 1.0

    def __post_init__(self):
        size = self.step_size
        if not (isinstance(size, int | float) and 0 < size < float("inf")):
            raise ValueError(f"{type(self).__name__}: step_size must be a finite number greater than 0 (got {size!r})")

    def __call__(self, x: Tensor) -> Tensor:
        return straight_through(self._round, x)


class round_ste(_Rounding):
    """Round to the nearest multiple of `step_size`, ties to even.

        y = round(x / step_size) * step_size        dy/dx = 1

    Args:
        step_size: distance between levels, greater than 0.

    Raises:
        ValueError: another step size.

    Source: traceTorch 0.19.
    """

    def _round(self, x):
        return torch.round(x / self.step_size) * self.step_size


class stochastic_round_ste(_Rounding):
    """Round up or down at random, so that the mean is x.

        low = floor(x / step_size)
        y = (low + (uniform < x / step_size - low)) * step_size        dy/dx = 1

    Draws one number per element.

    Args:
        step_size: distance between levels, greater than 0.

    Raises:
        ValueError: another step size.

    Source: traceTorch 0.19.
    """

    def _round(self, x):
        steps = x / self.step_size
        low = torch.floor(steps)
        up = uniform(x) < steps - low
        return (low + up.to(x.dtype)) * self.step_size


@dataclass(frozen=True)
class probabilistic_ste:
    """Let x through with probability x, else 0.

        y = x * (uniform < x)        dy/dx = 2 * x, the derivative of the mean x**2

    Draws one number per element. Meant for x in [0, 1]: values below never pass, values above always do, and the
    derivative is 2 * x there too.

    Source: traceTorch 0.19.
    """

    def __call__(self, x: Tensor) -> Tensor:
        return straight_through(self._thin, x, path=x * x)

    def _thin(self, x):
        return x * (uniform(x) < x).to(x.dtype)
