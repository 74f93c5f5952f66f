"""Synaptic: the input is smoothed before it reaches the membrane."""

from typing import Any

from .base import Stage
from .parameters import Decay, State


class Synaptic(Stage):
    """Exponential average of the input, which replaces it.

        syn = alpha*syn + (1 - alpha)*x        x = syn

    Source: traceTorch 0.19; with a scaled input, the current-based synapse of Gerstner et al., Neuronal Dynamics.
    """

    place = "input"
    symbol = "S"
    alpha = Decay(0.5, split=True, order=10)
    syn = State(split=True)

    def step(self, s: Any) -> None:
        for b in s.branches:
            b.syn = b.alpha * b.syn + (1 - b.alpha) * b.part(s.x)
        s.x = s.branches.total("syn")
