"""Adaptive: the threshold remembers past spikes."""

from typing import Any

from .base import Stage
from .parameters import Decay, Real, State


class Adaptive(Stage):
    """Threshold that rises with each spike and relaxes back.

        threshold + kappa*adapt        adapt = rho*adapt + spike (after firing)

    `spike` is signed: under `Ternary` a downward spike lowers `adapt`. Source: Bellec et al. 2018, Long
    short-term memory and learning-to-learn in networks of spiking neurons; Tether's ALIF.
    """

    rho = Decay(0.95)
    kappa = Real(0.1)
    adapt = State()

    def step(self, s: Any) -> None:
        s.shift = s.shift + s.kappa * s.adapt

    def after(self, s: Any) -> None:
        s.adapt = s.rho * s.adapt + s.spike
