"""Recurrent: a smoothed trace of the neuron's own output drives it."""

from typing import Any

from .base import Stage
from .parameters import Decay, Real, State


class Recurrent(Stage):
    """Exponential average of the previous output, added to what the membrane integrates.

        rec = gamma*rec + (1 - gamma)*prev_output        drive = drive + rec_weight*rec

    Source: traceTorch 0.19.
    """

    place = "drive"
    symbol = "R"
    gamma = Decay(0.9, split=True, order=30)
    rec_weight = Real(0.0, split=True, order=70)
    rec = State(split=True)
    prev_output = State()

    def step(self, s: Any) -> None:
        for b in s.branches:
            b.rec = b.gamma * b.rec + (1 - b.gamma) * b.part(s.prev_output)
        rec = s.branches.total("rec")
        for b in s.branches:
            b.drive = b.drive + b.rec_weight * b.part(rec)

    def after(self, s: Any) -> None:
        s.prev_output = s.output
