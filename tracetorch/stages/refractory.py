"""Refractory: a neuron that has just fired can't fire, or fires less easily."""

from typing import Any

import torch

from .base import Stage
from .parameters import Decay, Positive, State


class Refractory(Stage):
    """Absolute refractory period: after a spike no other one for a number of steps.

        spike = where(rest > 0, 0, spike)        rest = where(spike != 0, steps, max(rest - 1, 0)) (after firing)

    The membrane goes on integrating meanwhile, and a suppressed spike resets nothing.

    Args:
        steps: length of the period in time steps, 1 or more.

    Raises:
        ValueError: fewer steps than 1; spikes that are never exactly zero.

    Source: Gerstner et al., Neuronal Dynamics, section 1.3; Norse's lif_refrac.
    """

    place = "gate"
    needs_hard_spikes = True
    rest = State()

    def __init__(self, steps: int = 2) -> None:
        if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
            raise ValueError(f"tt.Refractory(steps): got {steps!r}, allowed are whole numbers from 1")
        self.steps = steps

    def step(self, s: Any) -> None:
        for side in s.sides:
            side.spike = torch.where(s.rest > 0, 0.0, side.spike)
        s.spike = s.output = s.sides.total("spike")

    def after(self, s: Any) -> None:
        s.rest = torch.where(s.spike != 0, float(self.steps), torch.clamp(s.rest - 1, min=0.0))


class RelativeRefractory(Stage):
    """Relative refractory period: after a spike, in either direction, the threshold is higher and relaxes back.

        threshold + rel_weight*rel        rel = max(rel_decay*rel, |spike|) (after firing)

    Unlike `Adaptive` it saturates: a second spike starts the period anew instead of adding to it.
    Source: Gerstner et al., Neuronal Dynamics, section 6.2.
    """

    rel_decay = Decay(0.5)
    rel_weight = Positive(1.0)
    rel = State()

    def step(self, s: Any) -> None:
        s.shift = s.shift + s.rel_weight * s.rel

    def after(self, s: Any) -> None:
        s.rel = torch.maximum(s.rel_decay * s.rel, s.spike.abs())
