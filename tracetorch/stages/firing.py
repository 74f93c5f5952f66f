"""Firing: from the membrane potential to spikes, and from spikes to the output."""

from typing import Any

from torch import Tensor

from .base import Stage
from .parameters import Bias, Parameter, Positive, Real


def raised(threshold: Tensor, shift: Tensor | float) -> Tensor:
    """Return `threshold + shift`; a threshold nobody has raised stays as it is."""
    return threshold if isinstance(shift, float) and shift == 0.0 else threshold + shift


class Binary(Stage):
    """Fire upwards, in one direction.

        spike = fire(potential - threshold + bias)        fire(v) = quant_fn(spike_fn(v))

    Args:
        biased: False leaves out `bias`.

    Source: traceTorch 0.19.
    """

    place = "fire"
    symbol = "B"
    threshold = Positive(1.0, order=40)
    bias = Bias(0.0, order=50, option_order=65)

    def __init__(self, biased: bool = True) -> None:
        self.biased = biased

    def parameters(self) -> dict[str, Parameter]:
        return {k: v for k, v in super().parameters().items() if self.biased or k != "bias"}

    def step(self, s: Any) -> None:
        s.threshold = raised(s.threshold, s.shift)
        above = s.potential - s.threshold
        s.spike = s.output = s.fire(above + s.bias if self.biased else above)


class Ternary(Stage):
    """Fire upwards and downwards, each against its own threshold.

        pos_spike =  fire( potential - pos_threshold + bias)        fire(v) = quant_fn(spike_fn(v))
        neg_spike = -fire(-neg_threshold - potential - bias)
        spike     = pos_spike + neg_spike

    Source: traceTorch 0.19.
    """

    place = "fire"
    symbol = "T"
    sided = True
    threshold = Positive(1.0, sided=True, order=40)
    bias = Bias(0.0, order=50, option_order=65)

    def step(self, s: Any) -> None:
        for side in s.sides:
            side.threshold = raised(side.threshold, s.shift)
        s.pos_spike = s.fire(s.potential - s.pos_threshold + s.bias)
        s.neg_spike = -s.fire(-s.neg_threshold - s.potential - s.bias)
        s.spike = s.output = s.sides.total("spike")


class Scaled(Stage):
    """Give each direction of firing its own amplitude; the reset still sees the unscaled spikes.

        output = spike*scale                                                  (after Binary)
        output = pos_spike*pos_scale + neg_spike*neg_scale                    (after Ternary)

    Source: traceTorch 0.19.
    """

    place = "output"
    symbol = "S"
    scale = Real(1.0, sided=True, order=60)

    def step(self, s: Any) -> None:
        for side in s.sides:
            side.amplitude = side.spike * side.scale
        s.output = s.sides.total("amplitude")
