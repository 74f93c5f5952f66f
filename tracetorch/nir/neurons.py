"""From NIR's neurons to compositions of stages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..functional import heavi_erfc
from ..layers.compose import compose
from ..layers.neuron import Neuron
from ..stages import EMA, Binary, Integrator, Reset, Stage
from .modules import EachPlace
from .report import EXACT, RESCALED, Refused
from .stages import InputGain, Resistance, SignedBinary, Synapse

NEURONS = ("LI", "LIF", "CubaLI", "CubaLIF", "I", "IF")
Shape = tuple[int, ...]
Values = dict[str, Tensor]
VISIBLE = 1e-5
"""From which relative error on the rounding of a time constant is reported."""


@dataclass(frozen=True)
class Clock:
    """How time is cut into steps, and the dtype of what is made."""

    dt: float
    method: str
    dtype: torch.dtype

    def decay(self, name: str, tau: Tensor) -> Tensor:
        """Return the share of a trace that is left after one step, for a time constant in units of `dt`'s."""
        if not bool(((tau > 0) & tau.isfinite()).all()):
            raise Refused(f"{name} must be finite and greater than 0, got {_first(tau, ~((tau > 0) & tau.isfinite()))}")
        if self.method == "exact":
            return torch.exp(-self.dt / tau)
        if bool((tau <= self.dt).any()):
            raise Refused(f"{name}={_first(tau, tau <= self.dt)} is no longer than one step, dt={self.dt:g}, which "
                          "Euler's method can't take; use a smaller dt, or method='exact'")
        return 1 - self.dt / tau

    def time(self, decay: Tensor) -> Tensor:
        """Return the time constant of a decay: the inverse of `decay`."""
        return -self.dt / torch.log(decay) if self.method == "exact" else self.dt / (1 - decay)


def neuron(kind: str, node: Any, shape: Shape | None, clock: Clock) -> tuple[nn.Module, Shape, str, str]:
    """Return the layer for a neuron node, the shape of a step, the verdict and a note."""
    given = {name: number(getattr(node, name)) for name in _fields(kind)}
    shape = max((tuple(value.shape) for value in given.values()), key=len) if shape is None else shape
    size, dim, values, places = _spread(given, shape)
    stages, arguments, notes = _stages(kind, values, clock)
    fires: dict[str, Any] = {"spike_fn": heavi_erfc(1.0)} if kind.endswith("IF") else {}
    try:
        layer = compose(*stages, name=f"NIR{kind}")(size, **arguments, dim=dim, **fires).to(clock.dtype)
    except ValueError as error:
        raise Refused(str(error)) from None
    notes += _rounding(layer, arguments, clock)
    verdict = RESCALED if kind in ("I", "IF") else EXACT
    return EachPlace(layer) if places else layer, shape, verdict, "; ".join(notes)


def number(value: Any) -> Tensor:
    """Return a parameter of a node in float64."""
    return torch.from_numpy(np.array(value, dtype=np.float64))


def _fields(kind: str) -> list[str]:
    leaky = ["tau", "r", "v_leak"] if not kind.startswith("Cuba") else ["tau_mem", "tau_syn", "w_in", "r", "v_leak"]
    names = leaky if kind not in ("I", "IF") else ["r"]
    return [*names, "v_threshold", "v_reset"] if kind.endswith("IF") else names


def _spread(given: Values, shape: Shape) -> tuple[int, int, Values, bool]:
    """Return the number of neurons, their dimension, their values [] or [N], and whether every place is a neuron."""
    if not shape:
        raise Refused("its parameters have no shape, and neither has its input: how many neurons are there?")
    for name, value in given.items():
        if value.numel() != 1 and tuple(value.shape) != shape:
            raise Refused(f"{name} has shape {list(value.shape)}, and its input {list(shape)}")
    flat = {name: v.reshape(()) if v.numel() == 1 else v.reshape(shape[0], -1)      # [] or [shape[0], places]
            for name, v in given.items()}
    if all(bool((v == v[..., :1]).all()) for v in flat.values() if v.ndim):
        return shape[0], -len(shape), {name: v[:, 0] if v.ndim else v for name, v in flat.items()}, False
    return math.prod(shape), -1, {name: v.flatten() if v.ndim else v for name, v in flat.items()}, True


def _stages(kind: str, given: Values, clock: Clock) -> tuple[list[Stage], Values, list[str]]:
    """Return the stages of a kind of neuron, the arguments of its layer, and notes."""
    stages, arguments, notes = [], {}, []
    r, leak = given["r"], given.get("v_leak")
    if leak is None:
        stages += [InputGain(), Integrator()]
        arguments["gain"] = r * clock.dt
        notes.append("input times r*dt")
    else:
        tau = "tau" if "tau" in given else "tau_mem"
        arguments["beta"] = clock.decay(tau, given[tau])
        if "tau_syn" in given:
            stages.append(Synapse(clock.method))
            arguments.update(alpha=clock.decay("tau_syn", given["tau_syn"]), w_in=given["w_in"], r=r, v_leak=leak)
        elif bool((r != 1).any() | (leak != 0).any()):
            stages.append(Resistance())
            arguments.update(r=r, v_leak=leak)
        stages.append(EMA())
        if bool((leak != 0).any()):
            notes.append("v starts at 0, not at v_leak")
    if "v_threshold" in given:
        stages += _firing(given, arguments)
    return stages, arguments, notes


def _firing(given: Values, arguments: Values) -> list[Stage]:
    arguments["threshold"] = given["v_threshold"]
    firing = Binary(biased=False) if bool((given["v_threshold"] > 0).all()) else SignedBinary()
    if bool((given["v_reset"] == 0).all()):
        return [firing, Reset("zero")]
    arguments["reset_to"] = given["v_reset"]
    return [firing, Reset(to=0.0)]


def _rounding(layer: Neuron, wanted: Mapping[str, Tensor], clock: Clock) -> list[str]:
    """Say by how much the dtype rounds a time constant, where that is visible."""
    notes = []
    for name in ("alpha", "beta"):
        if name in wanted:
            got = getattr(layer, name).detach().double()
            error = float(((1 - got) / (1 - wanted[name]) - 1).abs().max())
            if not bool(((got > 0) & (got < 1)).all()):
                raise Refused(f"the decay {name} of a step of dt={clock.dt:g} can't be told from 0 or 1 in "
                              f"{_short(clock.dtype)}; use another dt, or dtype=torch.float64")
            if error > VISIBLE:
                notes.append(f"{_short(clock.dtype)} rounds the time constant of {name} by {error:.0e}")
    return notes


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _first(value: Tensor, bad: Tensor) -> str:
    return f"{value[bad].flatten()[0].item():g}"
