"""Dual: every trace becomes a positive and a negative one."""

from .base import Stage


class Dual(Stage):
    """Split every trace by sign, each half with its own decay.

        pos_trace gets where(v >= 0, v, 0)        neg_trace gets where(v <= 0, v, 0)

    A rule about names rather than a step: whatever is declared with `split=True` becomes a `pos_`/`neg_`
    pair. At exactly zero both halves pass gradient. A reset takes half from each membrane.
    Source: traceTorch 0.19.
    """

    place = "rule"
    symbol = "D"
