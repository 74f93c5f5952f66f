"""What a stage declares: constrained parameters and states."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..functional.transforms import sigmoid_inverse, softplus_inverse


def identity(x: Tensor) -> Tensor:
    """Return `x`: the transform of an unconstrained value."""
    return x


class Parameter:
    """A value of a neuron, learned through an unconstrained `raw_` tensor: `value = activation(raw)`.

    Args:
        default: value a new neuron starts with, any finite number.
        split: under `Dual` the value becomes a `pos_`/`neg_` pair, one per sign of the trace.
        sided: under `Ternary` the value becomes a `pos_`/`neg_` pair, one per direction of firing.
        order: place among the arguments of the constructor.
        option_order: place of its `_rank` and `learn_` arguments, where that differs.

    A neuron takes a number, or a tensor of shape [] or [num_neurons], and raises ValueError where a value is out of
    range.
    """

    allowed = "a finite number"
    activation: Callable[[Tensor], Tensor] = staticmethod(identity)
    inverse: Callable[[Tensor], Tensor] = staticmethod(identity)

    def __init__(self, default: float, *, split: bool = False, sided: bool = False,
                 order: int = 100, option_order: int | None = None) -> None:
        self.default = default
        self.split = split
        self.sided = sided
        self.order = order
        self.option_order = order if option_order is None else option_order

    def inside(self, value: Tensor) -> Tensor:
        """Say elementwise which values are allowed."""
        return value.isfinite()

    def raw(self, name: str, value: Tensor) -> Tensor:
        """Return `inverse(value)`: what is stored.

        Args:
            name: what the value is called, for the error.
            value: floating-point tensor of any shape.

        Raises:
            ValueError: a value is out of range; the first one is named.
        """
        bad = ~self.inside(value)
        if not value.is_meta and bool(bad.any()):
            got = value[bad].flatten()[0].item()
            raise ValueError(f"{name} must be {self.allowed}, got {got:.6g}")
        return self.inverse(value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.default})"


class Decay(Parameter):
    """Share of a trace that is left after one step, in (0, 1): `value = sigmoid(raw)`.

    Args:
        default: value a new neuron starts with, between 0 and 1 (both excluded). A time constant of so many steps is
            `tt.functional.timesteps_to_decay(steps)`.
        split, sided, order, option_order: as for `tt.Parameter`.
    """

    allowed = "a decay between 0 and 1 (both excluded; tt.functional.timesteps_to_decay gives one from a time)"
    activation = staticmethod(torch.sigmoid)
    inverse = staticmethod(sigmoid_inverse)

    def inside(self, value: Tensor) -> Tensor:
        return (value > 0) & (value < 1)


class Positive(Parameter):
    """A value above 0, such as a threshold: `value = softplus(raw)`.

    Args:
        default: value a new neuron starts with, greater than 0; a threshold has the unit of the membrane.
        split, sided, order, option_order: as for `tt.Parameter`.
    """

    allowed = "greater than 0 and finite"
    activation = staticmethod(torch.nn.functional.softplus)
    inverse = staticmethod(softplus_inverse)

    def inside(self, value: Tensor) -> Tensor:
        return (value > 0) & value.isfinite()


class Bias(Parameter):
    """Any real value, learned on a scale that flattens for large values: `value = arcsinh(raw)`.

    Args:
        default: value a new neuron starts with, any finite number.
        split, sided, order, option_order: as for `tt.Parameter`.
    """

    activation = staticmethod(torch.arcsinh)
    inverse = staticmethod(torch.sinh)


class Real(Parameter):
    """Any real value, learned as it is: `value = raw`.

    Args:
        default: value a new neuron starts with, any finite number.
        split, sided, order, option_order: as for `tt.Parameter`.
    """


class State:
    """A value per neuron that is carried from step to step.

    Args:
        init: what a new state is filled with.
        split: under `Dual` the state becomes a `pos_`/`neg_` pair.
    """

    def __init__(self, init: float = 0.0, *, split: bool = False) -> None:
        self.init = float(init)
        self.split = split

    def __repr__(self) -> str:
        return f"State({self.init})"
