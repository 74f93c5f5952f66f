"""Membranes: what integrates the drive. One per neuron; the leaky one where none is named."""

from typing import Any

from .base import Stage
from .parameters import Decay, State


class Leaky(Stage):
    """Leaky integration of the drive.

        mem = beta*mem + drive

    Source: the leaky integrator of Gerstner et al., Neuronal Dynamics; traceTorch 0.19.
    """

    place = "membrane"
    symbol = "LI"
    beta = Decay(0.9, split=True, order=20)
    mem = State(split=True)

    def step(self, s: Any) -> None:
        for b in s.branches:
            b.mem = b.beta * b.mem + b.drive
        s.potential = s.output = s.branches.total("mem")


class EMA(Stage):
    """Exponential moving average of the drive.

        mem = beta*mem + (1 - beta)*drive

    Source: traceTorch 0.19.
    """

    place = "membrane"
    symbol = "LIEMA"
    beta = Decay(0.9, split=True, order=20)
    mem = State(split=True)

    def step(self, s: Any) -> None:
        for b in s.branches:
            b.mem = b.beta * b.mem + (1 - b.beta) * b.drive
        s.potential = s.output = s.branches.total("mem")


class Integrator(Stage):
    """Sum of the drive, without a leak.

        mem = mem + drive

    Source: the perfect integrate-and-fire neuron of Gerstner et al., Neuronal Dynamics; NIR's I and IF.
    """

    place = "membrane"
    symbol = "I"
    mem = State(split=True)

    def step(self, s: Any) -> None:
        for b in s.branches:
            b.mem = b.mem + b.drive
        s.potential = s.output = s.branches.total("mem")
