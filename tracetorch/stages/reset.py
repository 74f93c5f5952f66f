"""Reset: what a spike does to the membrane."""

from typing import Any

import torch

from .base import Stage

MODES = ("subtract", "zero", "none")


class Reset(Stage):
    """Take the fired charge from the membrane.

        subtract    mem = mem - spike*threshold          (Ternary: both directions; Dual: half from each membrane)
        zero        mem = where(spike != 0, 0, mem)
        none        mem = mem

    The threshold is the one that was crossed, raised or shadowed by earlier stages included.

    Args:
        mode: "subtract", "zero" or "none".
        detach: no gradient flows from the membrane back through the spike that reset it. (Through `zero` none
            flows in any case.)

    Raises:
        ValueError: another mode; "zero" where neither `spike_fn` nor `quant_fn` makes hard spikes.

    Source: subtract, traceTorch 0.19; zero, Tether and SpikingJelly; detaching, Zenke and Vogels 2021.
    """

    place = "reset"

    def __init__(self, mode: str = "subtract", detach: bool = False) -> None:
        if mode not in MODES:
            raise ValueError(f"tt.Reset(mode): got {mode!r}, allowed are {', '.join(map(repr, MODES))}")
        self.mode, self.detach = mode, bool(detach)

    @property
    def needs_hard_spikes(self) -> bool:  # type: ignore[override]
        return self.mode == "zero"

    def step(self, s: Any) -> None:
        if self.mode == "zero":
            for b in s.branches:
                b.mem = torch.where(s.spike != 0, 0.0, b.mem)
        elif self.mode == "subtract":
            for side in s.sides:
                side.charge = (side.spike.detach() if self.detach else side.spike) * side.threshold
            charge = s.sides.total("charge")
            for b in s.branches:
                b.mem = b.mem - b.share(charge)
