"""Synapses: the input is smoothed, or turned into a current, before it reaches the membrane."""

from typing import Any

from .base import Stage
from .parameters import Decay, State


class Synaptic(Stage):
    """Exponential average of the input, which replaces it.

        syn = alpha*syn + (1 - alpha)*x        x = syn

    A constant input comes through as it is; in `Current` it grows by 1/(1 - alpha). Source: traceTorch 0.19.
    """

    place = "input"
    symbol = "S"
    alpha = Decay(0.5, split=True, order=10)
    syn = State(split=True)

    def step(self, s: Any) -> None:
        for b in s.branches:
            b.syn = b.alpha * b.syn + (1 - b.alpha) * b.part(s.x)
        s.x = s.branches.total("syn")


class Current(Stage):
    """Synaptic current that jumps by the input and decays, in place of the input.

        syn = alpha*syn + x        x = syn

    Source: the current-based synapse of Gerstner et al., Neuronal Dynamics; snnTorch's Synaptic, Norse's LIF.
    """

    place = "input"
    symbol = "C"
    alpha = Decay(0.5, split=True, order=10)
    syn = State(split=True)

    def step(self, s: Any) -> None:
        for b in s.branches:
            b.syn = b.alpha * b.syn + b.part(s.x)
        s.x = s.branches.total("syn")
