"""Stages that only NIR's neurons have: a resistance, a gain, a current, a threshold of any sign."""

from typing import Any

import torch
from torch import Tensor

from ..stages import Binary, Decay, Real, Stage, State

METHODS = ("euler", "exact")


class Resistance(Stage):
    """Turn the input, a current, into the voltage that the membrane relaxes to.

        x = v_leak + r*x

    Source: NIR's LI and LIF.
    """

    place = "input"
    r = Real(1.0, order=12)
    v_leak = Real(0.0, order=14)

    def step(self, s: Any) -> None:
        s.x = s.v_leak + s.r * s.x


class InputGain(Stage):
    """Scale the input.

        x = gain*x

    Source: NIR's I and IF, where the gain is r*dt.
    """

    place = "input"
    gain = Real(1.0, order=12)

    def step(self, s: Any) -> None:
        s.x = s.gain * s.x


class Synapse(Stage):
    """Filter the input into a current, which drives the membrane through a resistance.

        x = v_leak + r*(share*syn + (1 - share)*w_in*x)        syn = alpha*syn + (1 - alpha)*w_in*x

    "euler": `share` is 1, the membrane sees the current of the step before. "exact": the solution of both equations for
    an input that is held during the step, with `share = -beta*log(beta)*expm1(d)/(d*(1 - beta))`,
    `d = log(alpha) - log(beta)`, and `beta` that of the membrane, `tt.EMA`.

    Args:
        method: "euler" or "exact".

    Source: NIR's CubaLI and CubaLIF.
    """

    place = "input"
    w_in = Real(1.0, order=8)
    alpha = Decay(0.5, order=10)
    r = Real(1.0, order=12)
    v_leak = Real(0.0, order=14)
    syn = State()

    def __init__(self, method: str = "euler") -> None:
        self.method = method

    def step(self, s: Any) -> None:
        held = s.w_in * s.x
        if self.method == "euler":
            current = s.syn
        else:
            share = _share(s.alpha, s.beta)
            current = share * s.syn + (1 - share) * held
        s.syn = s.alpha * s.syn + (1 - s.alpha) * held
        s.x = s.v_leak + s.r * current


def _share(alpha: Tensor, beta: Tensor) -> Tensor:
    """Return how much of what the membrane takes in within a step comes from the current at its start."""
    d = torch.log(alpha) - torch.log(beta)
    near = torch.abs(d) < 1e-4          # where expm1(d)/d loses digits, and at 0 everything
    divisor = torch.where(near, 1.0, d)
    ratio = torch.where(near, 1 + d / 2 + d * d / 6, torch.expm1(d) / divisor)
    return -beta * torch.log(beta) * ratio / (1 - beta)


class SignedBinary(Binary):
    """Fire upwards, against a threshold of any sign.

        spike = fire(potential - threshold)        fire(v) = quant_fn(spike_fn(v))

    Source: NIR's LIF, where voltages may be negative.
    """

    symbol = "SignedB"
    threshold = Real(1.0, order=40)     # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__(biased=False)
