"""Reset: what a spike does to the membrane."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .base import Stage
from .parameters import Parameter, Real

MODES = {"subtract": False, "zero": True, "none": False, "value": True}
"""The modes, and whether each is detached where nothing is said."""


class Reset(Stage):
    """Take the fired charge from the membrane, or start it anew.

        subtract    mem = mem - spike*threshold               (Ternary: both directions; Dual: half from each membrane)
        zero        mem = where(spike != 0, 0, mem)           detach=False: mem = mem*(1 - fired)
        value       mem = where(spike != 0, reset_to, mem)    detach=False: mem = mem*(1 - fired) + reset_to*fired
        none        mem = mem

    The threshold is the one that was crossed, raised or shadowed by earlier stages included; `fired` is the spike, or
    under `Ternary` the size of both. Under `Dual` each membrane starts anew from half of `reset_to`.

    Args:
        mode: "subtract", "zero", "value" or "none".
        detach: whether the spike that reset the membrane passes no gradient to it. None: it passes some where the
            reset subtracts, and none where it starts anew. The forms that pass it, `mem*(1 - fired)`, are meant for
            spikes from 0 to 1.
        to: what a neuron that fired starts anew from, the default of its parameter `reset_to`; says mode "value".

    Raises:
        ValueError: another mode; a value without the mode, or the mode without a value; a detached reset to zero or to
            a value where neither `spike_fn` nor `quant_fn` makes hard spikes.
        TypeError: `to` is no number.

    Source: subtract, traceTorch 0.19; zero, Tether and SpikingJelly; value, `v_reset` of NIR and SpikingJelly;
    `mem*(1 - spike)`, Norse and SpikingJelly; detaching, Zenke and Vogels 2021.
    """

    place = "reset"

    def __init__(self, mode: str | None = None, detach: bool | None = None, *, to: float | None = None) -> None:
        mode = mode or ("subtract" if to is None else "value")
        if mode not in MODES:
            raise ValueError(f"tt.Reset(mode): got {mode!r}, allowed are {', '.join(map(repr, MODES))}")
        if (mode == "value") != (to is not None):
            raise ValueError(f"tt.Reset({mode!r}, to={to}): mode 'value' and `to` belong together; write "
                             f"tt.Reset(to=-0.2) for a reset to a value, tt.Reset({mode!r}) without one"
                             if to is not None else "tt.Reset('value'): to what? write tt.Reset(to=-0.2)")
        self.mode, self.detach = mode, MODES[mode] if detach is None else bool(detach)
        if to is not None:
            self.to = _number(to)

    @property
    def needs_hard_spikes(self) -> bool:  # type: ignore[override]
        return self.mode in ("zero", "value") and self.detach

    def parameters(self) -> dict[str, Parameter]:
        return {"reset_to": Real(self.to, order=80)} if self.mode == "value" else {}

    def changes(self) -> dict[str, Any]:
        usual = {"mode": "subtract", "detach": MODES[self.mode]}
        return {name: value for name, value in vars(self).items() if usual.get(name) != value}

    def step(self, s: Any) -> None:
        if self.mode == "subtract":
            for side in s.sides:
                side.charge = (side.spike.detach() if self.detach else side.spike) * side.threshold
            charge = s.sides.total("charge")
            for b in s.branches:
                b.mem = b.mem - b.share(charge)
        elif self.mode != "none":
            fired = None if self.detach else _fired(s)
            for b in s.branches:
                to = b.share(s.reset_to) if self.mode == "value" else 0.0
                if fired is None:
                    b.mem = torch.where(s.spike != 0, to, b.mem)
                elif self.mode == "zero":
                    b.mem = b.mem * (1 - fired)
                else:
                    b.mem = b.mem * (1 - fired) + to * fired


def _fired(s: Any) -> Tensor:
    """Return the size of the spikes; unlike abs(), it passes gradient where there is none."""
    up, *down = (side.spike for side in s.sides)
    return up - down[0] if down else up


def _number(to: Any) -> float:
    if not isinstance(to, (int, float)) or isinstance(to, bool):
        raise TypeError(f"tt.Reset(to): got {to!r}, allowed is a number; one for each neuron is given to the layer: "
                        "reset_to=tensor")
    if not math.isfinite(to):
        raise ValueError(f"tt.Reset(to): got {to!r}, allowed are finite numbers")
    return float(to)
