"""Counting one layer: its spikes, its membrane, and where its spike function lets gradient through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ..layers.feedback import Feedback
from ..layers.layer import Layer
from ..layers.neuron import Neuron, makes_hard_spikes
from ..pipeline import MissingName, Namespace
from ..stages import Scaled
from .report import Neurons

GRID = torch.linspace(-4.0, 4.0, 1601)
"""Where the peak of a spike function's derivative is looked for; zero is in it."""


class NeuronCount:
    """Sums over all steps that a layer has run.

    Attributes:
        recorded: names to record, with the names under which a scan returns them.
        ran: whether there was a step.
        unknown: why membrane and gradient are not known, or "".
    """

    def __init__(self, path: str, layer: Layer, fraction: float, stepped: bool) -> None:
        self.path, self.layer, self.fraction, self.stepped = path, layer, fraction, stepped
        self.title = f"{path} ({type(layer).__name__})" if path else type(layer).__name__
        neuron = layer.neuron if isinstance(layer, Feedback) else layer
        self.fires = neuron.pipeline.fires if isinstance(neuron, Neuron) else hasattr(neuron, "spike_fn")
        self.smooth = isinstance(neuron, Neuron) and self.fires and not makes_hard_spikes(neuron.bound_step())
        names = ("output", "potential", *(("spike", "shift") if self.fires else ()))
        self.recorded = {name: f"{path}.{name}" if path else name for name in names}
        own = "its path is counted step by step" if neuron is not layer else "its forward is its own"
        self.unknown = f"{own}, so membrane and gradient are not known" if stepped else ""
        self.count = self.fired = self.crossed = torch.zeros(layer.num_neurons, dtype=torch.int64)
        self.total = torch.zeros(layer.num_neurons, dtype=torch.float64)
        self.nonzero = self.open = self.gates = 0
        self.units, self.negative, self.zeros = True, False, False
        self.low, self.high = torch.tensor(torch.inf), torch.tensor(-torch.inf)
        self.peak: Tensor | None = None

    @property
    def ran(self) -> bool:
        return bool(self.count.any())

    def add(self, recordings: dict[str, Tensor], live: Tensor | None) -> None:
        """Count recordings [T, B, ...] (or [T, ...]), where `live` [T, B] says so."""
        output = recordings["output"]
        if live is not None:
            live = live.view(*live.shape, *[1] * (output.ndim - 2)).expand(output.shape)     # [T, B, ...]
        self._add_output(output, live)
        self._add_spikes(recordings.get("spike", output), live)
        if "potential" in recordings:
            potential = recordings["potential"] if live is None else recordings["potential"][live]
            if potential.numel():
                self.low = torch.minimum(self.low, potential.min().cpu())       # NaN stays NaN
                self.high = torch.maximum(self.high, potential.max().cpu())
            if self.fires:
                self._add_gradient(recordings["potential"], recordings["shift"], live)

    def _add_output(self, output: Tensor, live: Tensor | None) -> None:
        seen = output if live is None else output[live]
        self.nonzero += int((seen != 0).sum())
        self.units &= bool(((seen == 0) | (seen.abs() == 1)).all())
        self.negative |= bool((seen < 0).any())
        self.zeros |= bool((seen == 0).any())

    def _add_spikes(self, spike: Tensor, live: Tensor | None) -> None:
        size = self._per_neuron(spike.abs())
        seen = torch.ones_like(size, dtype=torch.bool) if live is None else self._per_neuron(live)
        self.count = self.count + seen.sum(0).cpu()
        self.fired = self.fired + ((size != 0) & seen).sum(0).cpu()
        self.crossed = self.crossed + ((size > 0.5) & seen).sum(0).cpu()
        self.total = self.total + torch.where(seen, size, 0.0).sum(0, dtype=torch.float64).cpu()

    def _axis(self, ndim: int) -> int:
        """Return where neurons lie in a recording of `ndim` dimensions, time included."""
        return self.layer.dim % (ndim - 1) + 1

    def _per_neuron(self, recording: Tensor) -> Tensor:
        """Put neurons last and all else in one dimension: [T, B, ...] -> [M, N]."""
        return recording.movedim(self._axis(recording.ndim), -1).flatten(0, -2)

    def _add_gradient(self, potential: Tensor, shift: Tensor, live: Tensor | None) -> None:
        """Count where the derivative of the spike function is a fraction of its peak, in one direction at least."""
        assert isinstance(self.layer, Neuron)
        try:
            arguments = _arguments(self.layer, potential, shift, self._axis(potential.ndim))
        except MissingName as error:
            self.unknown = f"gradient is not known: its firing stage reads more than the potential ({error})"
            return
        if not arguments:
            self.unknown = "gradient is not known: its firing stage does not call s.fire"
            return
        fire = self.layer.bound_step().fire
        slopes = [_slope(fire, v) for v in arguments]
        if self.peak is None:
            shape = [1] * potential.ndim
            shape[0], shape[self._axis(potential.ndim)] = len(GRID), self.layer.num_neurons
            grid = GRID.to(potential).view(-1, *[1] * (potential.ndim - 1)).expand(shape)     # [len(GRID), 1.., N, 1..]
            self.peak = _slope(fire, grid).amax(0)
        through = torch.stack([slope >= self.fraction * self.peak for slope in slopes]).any(0) & (self.peak > 0)
        self.open += int((through if live is None else through & live).sum())
        self.gates += through.numel() if live is None else int(live.sum())

    def result(self) -> Neurons:
        """Return the numbers."""
        output, count = self._kind(), self.count.clamp(min=1)
        smooth = output == "smooth"
        fired = self.crossed if smooth else self.fired
        values = Neurons(
            path=self.path, name=type(self.layer).__name__, output=output, neurons=self.layer.num_neurons,
            rates=(self.total if smooth else self.fired.double()) / count,
            silent=_share(fired == 0), always=_share(fired == self.count),
            nonzero=self.nonzero / max(1, int(self.count.sum())),
            gradient=self.open / self.gates if self.gates else None,
            membrane=(float(self.low), float(self.high)) if self.low <= self.high or self.low.isnan() else None)
        return values if output != "membrane" else replace(values, rates=None, silent=None, always=None)

    def _kind(self) -> str:
        """Name what the layer sends: what its stages make it, and what values were seen."""
        composed = isinstance(self.layer, Neuron)
        if not self.fires and (composed or not self.units or not self.nonzero):
            return "membrane"
        if self.smooth or (not composed and not self.zeros):
            return "smooth"
        if self.units:
            return "ternary" if self.negative or (composed and self.layer.pipeline.sided) else "binary"
        return "scaled" if composed and any(isinstance(stage, Scaled) for stage in self.layer.stages) else "graded"


def _share(mask: Tensor) -> float:
    return float(mask.double().mean())


def _arguments(layer: Neuron, potential: Tensor, shift: Tensor, axis: int) -> list[Tensor]:
    """Return what a layer's firing stage gives to its spike function, once per direction, from recordings."""
    seen: list[Tensor] = []

    def noted(v: Tensor) -> Tensor:
        seen.append(v)
        return v

    params = {name: p.view(-1, *[1] * (potential.ndim - 1 - axis)) if p.ndim else p     # [N, 1..] or []
              for name, p in layer.constrained().items()}
    values = {**params, "potential": potential, "shift": shift, "fire": noted}
    pipeline = layer.pipeline
    names = Namespace(values, frozenset(), (), pipeline.dual, pipeline.sided)
    for stage in layer.stages:
        if stage.place == "fire":
            stage.step(names)
    return seen


def _slope(fire: Callable[[Tensor], Tensor], v: Tensor) -> Tensor:
    """Return the derivative of a spike function that training sees, elementwise; 0 where it has none."""
    with torch.enable_grad():
        v = v.detach().requires_grad_()
        y = fire(v)
        return torch.autograd.grad(y.sum(), v)[0] if y.requires_grad else torch.zeros_like(v)
