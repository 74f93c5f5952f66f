"""From a composition of stages to the neuron nodes that say it in NIR, or why none does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..functional.random import Stream
from ..layers.neuron import Neuron
from ..stages import (
    EMA,
    Adaptive,
    Binary,
    Current,
    Dual,
    Integrator,
    Leaky,
    Recurrent,
    Refractory,
    RelativeRefractory,
    Reset,
    Scaled,
    Stage,
    Synaptic,
    Ternary,
)
from .neurons import Clock
from .report import EXACT, RESCALED, Refused
from .stages import InputGain, Resistance, SignedBinary, Synapse

CANT: dict[type[Stage], str] = {
    Dual: "NIR's neurons have one trace for both signs",
    Ternary: "NIR's neurons fire upwards only",
    Scaled: "NIR's spikes are 1; scale them in the weights that follow",
    Adaptive: "NIR's threshold stays where it is",
    RelativeRefractory: "NIR's threshold stays where it is",
    Refractory: "NIR's neurons have no refractory period",
    Recurrent: "NIR has no trace of a neuron's own output; tt.Feedback, through weights, is a cycle of the graph",
}
INPUTS = (Synaptic, Current, InputGain, Resistance, Synapse)
SAID = (EMA, Leaky, Integrator, Binary, SignedBinary, Reset, *INPUTS)
NEAR = torch.tensor([10.0**e for e in range(-6, 3)])
"""Distances from the threshold at which the spikes of a layer are looked at."""
REACHED = "it fires at the threshold too, so the threshold of the node is the next number below"


@dataclass
class Said:
    """A node by type and parameters ([] or [N]), those of an LI before it, the verdict and notes."""

    kind: str
    values: dict[str, Tensor]
    before: dict[str, Tensor] = field(default_factory=dict)
    verdict: str = EXACT
    notes: list[str] = field(default_factory=list)

    def cast(self, dtype: torch.dtype) -> None:
        """Store all parameters in `dtype`."""
        self.values = {name: value.to(dtype) for name, value in self.values.items()}
        self.before = {name: value.to(dtype) for name, value in self.before.items()}

    def rescaled(self, note: str) -> None:
        """Say by what factor the node's input differs from the layer's."""
        self.verdict = RESCALED
        self.notes.append(note)


def said(layer: Neuron, clock: Clock) -> Said:
    """Return the node for a layer, or raise Refused."""
    for stage in layer.stages:
        if type(stage) not in SAID:
            raise Refused(f"tt.{type(stage).__name__}: {CANT[type(stage)]}" if type(stage) in CANT else
                          f"no node of NIR has the stage {type(stage).__name__}")
    if not layer.fuses:
        raise Refused("it has a forward or a step of its own")
    stages = {type(stage): stage for stage in layer.stages}
    values = layer.bound_step().values(layer.stored(torch.float64))
    values = {name: value.detach().cpu() for name, value in values.items()}
    found = _membrane(stages, values, clock)
    if layer.pipeline.fires:
        found.kind += "F"
        _fire(found, layer, stages, values)
    found.cast(next((torch.promote_types(t.dtype, torch.float32) for t in layer.stored().values()), torch.float64))
    return found


def _membrane(stages: dict[type, Any], values: dict[str, Tensor], clock: Clock) -> Said:
    """Return LI, CubaLI or I, with the resistance that weighs its input as the stages do."""
    inputs = [kind for kind in INPUTS if kind in stages]
    if len(inputs) > 1:
        raise Refused(f"{' and '.join(kind.__name__ for kind in inputs)} one after another are no node of NIR")
    r = values.get("r", values.get("gain", torch.ones((), dtype=torch.float64)))
    leak = values.get("v_leak", torch.zeros((), dtype=torch.float64))
    if Integrator in stages:
        if Synapse in stages or Resistance in stages:
            raise Refused("NIR's I and IF have no v_leak and no current of their own")
        found = Said("I", {"r": r / clock.dt})
        found.rescaled(f"r = input weight / dt, a factor of {1 / clock.dt:.4g}")
    else:
        found = Said("LI", {"tau": clock.time(values["beta"]), "r": r, "v_leak": leak})
    if Leaky in stages:
        scale = 1 / (1 - values["beta"])
        found.values.update(r=r * scale, v_leak=leak * scale)
        found.rescaled(f"r = input weight / (1 - beta), a factor of {_extent(scale)}")
    if Synaptic in stages or Current in stages:
        scale = 1 / (1 - values["alpha"]) if Current in stages else torch.ones_like(values["alpha"])
        found.before = {"tau": clock.time(values["alpha"]), "r": scale, "v_leak": torch.zeros_like(scale)}
        if Current in stages:
            found.rescaled(f"r of the current = 1 / (1 - alpha), a factor of {_extent(scale)}")
    if Synapse in stages:
        if stages[Synapse].method != clock.method:
            raise Refused(f"its current was made for method={stages[Synapse].method!r}; pass that to tt.to_nir")
        found.kind = "CubaLI"
        found.values = {"tau_mem": found.values.pop("tau"), **found.values,
                        "tau_syn": clock.time(values["alpha"]), "w_in": values["w_in"]}
    return found


def _fire(found: Said, layer: Neuron, stages: dict[type, Any], values: dict[str, Tensor]) -> None:
    """Add threshold and reset."""
    reset = stages[Reset]
    if reset.mode not in ("zero", "value"):
        what = "subtracts the threshold" if reset.mode == "subtract" else "leaves the membrane alone"
        raise Refused(f"{reset!r} {what}, and NIR's neurons start anew from v_reset: compose the layer with "
                      "tt.Reset('zero') or tt.Reset(to=...)")
    reached = reaches(layer.bound_step().fire, layer.threshold.expand(layer.num_neurons))
    if reached:
        values |= {name: getattr(layer, name).detach().cpu() for name in ("threshold", "bias") if name in values}
        found.notes.append(REACHED)
    threshold = values["threshold"] - values["bias"] if "bias" in values else values["threshold"]
    found.values["v_threshold"] = below(threshold) if reached else threshold
    found.values["v_reset"] = values.get("reset_to", torch.zeros((), dtype=torch.float64))


def reaches(fire: Callable[[Tensor], Tensor], threshold: Tensor) -> bool:
    """Say whether spikes come at a threshold as well as above; raise Refused where they are not 0 and 1."""
    # [len(NEAR), *threshold.shape]
    distances = NEAR.to(threshold).view(-1, *[1] * threshold.ndim).expand(-1, *threshold.shape)
    probe = torch.cat([-distances, distances, torch.zeros_like(distances[:1])])
    with torch.no_grad(), Stream(torch.zeros(2, dtype=torch.int64, device=probe.device), probe.shape):
        spikes = fire(probe)
    at = spikes[-1:]
    wanted = torch.cat([torch.zeros_like(distances), torch.ones_like(distances), (at != 0).to(at.dtype)])
    if not torch.equal(spikes, wanted):
        raise Refused("its spikes are not 0 below the threshold and 1 above, as NIR's are: give it a spike_fn such as "
                      "tt.functional.heavi_erfc(1.0), or quant_fn=tt.functional.round_ste()")
    return bool(at.any())


def below(threshold: Tensor) -> Tensor:
    """Return the next numbers below, which are exceeded where a threshold is reached."""
    return torch.nextafter(threshold, torch.full_like(threshold, -torch.inf))


def _extent(value: Tensor) -> str:
    low, high = float(value.min()), float(value.max())
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
