"""What `tt.activity` returns: numbers by layer, as a table in text and in a notebook, and what they call for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import table
from .table import number, share

QUANTILES = (0.1, 0.5, 0.9)
RARE, MANY, FEW = 0.01, 0.75, 0.05
"""What calls for attention: a rate below the first, a share of neurons that are silent or always fire above the second,
a share of steps at which gradient gets through below the third."""


@dataclass(frozen=True, eq=False)
class Neurons:
    """What one layer of neurons did.

    Attributes:
        path: where it lies in the model.
        name: its class.
        output: what it sends: "binary" (0 and 1), "ternary" (-1, 0 and 1), "scaled" or "graded" (zero and other
            values), "smooth" (never zero), "membrane" (it does not fire).
        neurons: their number along `dim`.
        rates: [neurons] share of steps with a spike, over the batch and all other dimensions; mean size of smooth
            spikes; None where the layer does not fire, as in `rate`, `silent` and `always`.
        silent: share of neurons that never fired; a smooth spike counts from one half on.
        always: share of neurons that fired at every step.
        nonzero: share of outputs that are not zero.
        gradient: share of steps and neurons at which the spike function's derivative is near its peak; None where it
            is not known.
        membrane: smallest and largest potential before reset; None where it is not known.
    """

    path: str
    name: str
    output: str
    neurons: int
    rates: Tensor | None
    silent: float | None
    always: float | None
    nonzero: float
    gradient: float | None
    membrane: tuple[float, float] | None

    @property
    def title(self) -> str:
        """Path and class."""
        return f"{self.path} {self.name}".strip()

    @property
    def rate(self) -> float | None:
        """Mean of the rates."""
        return None if self.rates is None else float(self.rates.mean())

    @property
    def quantiles(self) -> tuple[float, ...] | None:
        """The rates that 10, 50 and 90 % of the neurons stay below."""
        if self.rates is None:
            return None
        return tuple(torch.quantile(self.rates.double(), torch.tensor(QUANTILES, dtype=torch.float64)).tolist())

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers."""
        return {**vars(self), "rate": self.rate, "quantiles": self.quantiles,
                "rates": None if self.rates is None else self.rates.tolist()}


@dataclass(frozen=True)
class Synapses:
    """What one module with weights computed, summed over all that was scanned.

    Attributes:
        path: where it lies in the model.
        name: its class.
        inputs: how many numbers it got.
        nonzero: share of them that are not zero.
        multiplications: what the dense layer multiplies, zeros of a convolution's padding included.
        operations: non-zero inputs times fan-out.
        accumulates: how many of them have an input of 1 or -1, so that adding or subtracting the weight is enough.
        break_even: share of non-zero inputs at which operations cost what the multiplications cost; above 1 they
            never do.
    """

    path: str
    name: str
    inputs: int
    nonzero: float
    multiplications: int
    operations: int
    accumulates: int
    break_even: float

    @property
    def title(self) -> str:
        """Path and class."""
        return f"{self.path} {self.name}".strip()

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers."""
        return dict(vars(self))


@dataclass(frozen=True, eq=False)
class Report:
    """What a network did: prints as a table, shows itself in a notebook.

    Attributes:
        layers: numbers of each layer of neurons by path, in the order of the model.
        synapses: numbers of each module with weights by path.
        steps, batch, elements: T, B, and how many steps of how many elements were counted in all (T*B, or the sum of
            `lengths`).
        accumulate_cost, gradient_fraction: as given.
        notes: what could not be counted, and why.
    """

    layers: dict[str, Neurons]
    synapses: dict[str, Synapses]
    steps: int
    batch: int
    elements: int
    accumulate_cost: float
    gradient_fraction: float
    notes: tuple[str, ...] = ()

    @property
    def attention(self) -> tuple[str, ...]:
        """What needs attention, with the layers concerned, and what to try; empty where nothing does."""
        return tuple(_attention(list(self.layers.values())))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain numbers, strings, lists and dicts, as JSON takes it."""
        return {**vars(self), "notes": list(self.notes), "attention": list(self.attention),
                "layers": {path: layer.to_dict() for path, layer in self.layers.items()},
                "synapses": {path: module.to_dict() for path, module in self.synapses.items()}}

    def summary(self) -> str:
        """Return two lines: how often neurons fire, and what the network computes."""
        firing = [layer for layer in self.layers.values() if layer.rate is not None]
        count = sum(layer.neurons for layer in firing)
        rate = sum((layer.rate or 0.0) * layer.neurons for layer in firing) / max(1, count)
        silent = sum(round((layer.silent or 0.0) * layer.neurons) for layer in firing)
        dense = sum(module.multiplications for module in self.synapses.values())
        done = sum(module.operations for module in self.synapses.values())
        return (f"neurons fire at {share(rate)} of steps; {silent} of {count} never do\n"
                f"synaptic operations per step: {number(done / self.elements)}; multiplications if computed densely: "
                f"{number(dense / self.elements)} ({share(done / max(1, dense))})")

    def __repr__(self) -> str:
        parts = [self._head()]
        parts += [table.text(head, rows) for head, rows in self._tables() if rows]
        parts += [table.bullets(title, lines) for title, lines in self._lists() if lines]
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        parts = [f"<p>{self._head()}</p>"]
        parts += [table.html(head, rows) for head, rows in self._tables() if rows]
        parts += [table.html_list(title, lines) for title, lines in self._lists() if lines]
        return "".join(parts)

    def _head(self) -> str:
        whole = "" if self.elements == self.steps * self.batch else f", {number(self.elements)} steps in all"
        return (f"{self.steps} steps, batch of {self.batch}{whole}; multiplications and operations are per step of one "
                "element")

    def _tables(self) -> list[tuple[list[str], list[list[str]]]]:
        """Return the two tables: headings, and rows of cells."""
        layers = [[layer.title, layer.output, str(layer.neurons), share(layer.rate),
                   *map(share, layer.quantiles or [None] * len(QUANTILES)), share(layer.silent), share(layer.always),
                   share(layer.gradient), table.extent(layer.membrane)] for layer in self.layers.values()]
        synapses = [[m.title, share(m.nonzero), number(m.multiplications / self.elements),
                     number(m.operations / self.elements), share(m.operations / max(1, m.multiplications)),
                     share(m.accumulates / m.operations if m.operations else None), share(m.break_even)]
                    for m in self.synapses.values()]
        return [(["layer", "output", "neurons", "rate", *(f"{100 * q:.0f}th" for q in QUANTILES), "silent", "always",
                  "gradient", "membrane"], layers),
                (["weights", "non-zero", "multiplications", "operations", "share", "accumulates", "break-even"],
                 synapses)]

    def _lists(self) -> list[tuple[str, list[str]]]:
        measures = []
        if any(layer.gradient is not None for layer in self.layers.values()):
            measures.append("gradient: the share of neurons and steps where the derivative of the spike function is at "
                            f"least {share(self.gradient_fraction)} of its peak.")
        if self.synapses:
            measures.append("break-even: the share of non-zero inputs at which operations cost as much as "
                            f"multiplications, an accumulate counted {self.accumulate_cost:g} times.")
        dense = [f"{layer.title} sends smooth spikes: they are never zero, so the layer after it computes densely."
                 for layer in self.layers.values() if layer.output == "smooth"]
        return [("Needs attention", list(self.attention)), ("Notes", [*measures, *dense, *self.notes])]


def _attention(layers: list[Neurons]) -> Iterator[str]:
    """Say for each kind of trouble which layers have it and what to try."""
    broken = [layer for layer in layers if layer.membrane is not None and math.isnan(layer.membrane[0])]
    if broken:
        yield f"NaN in the membrane: {_titles(broken)}. Look for NaN or infinity in the input and in the weights."
    silent = [f"{layer.title} (rate {share(layer.rate)}, {share(layer.silent)} of neurons silent)"
              for layer in layers if layer.rate is not None and (layer.rate < RARE or (layer.silent or 0) > MANY)]
    if silent:
        yield (f"Nearly silent: {', '.join(silent)}. The next layer gets next to nothing to learn from: try "
               "tt.calibrate(model, x, rate=0.1), larger weights before it, or a lower threshold.")
    always = [f"{layer.title} ({share(layer.always)} of neurons fire at every step)"
              for layer in layers if (layer.always or 0) > MANY]
    if always:
        yield (f"Saturated: {', '.join(always)}. Spikes at every step say nothing: try tt.calibrate(model, x, "
               "rate=0.1), smaller weights before it, or a higher threshold.")
    shut = [f"{layer.title} (at {share(layer.gradient)} of steps)"
            for layer in layers if layer.gradient is not None and layer.gradient < FEW]
    if shut:
        yield (f"Little gradient gets through: {', '.join(shut)}. What lies before it hardly learns: bring membranes "
               "near the threshold (tt.calibrate), or take a spike_fn with a wider derivative.")


def _titles(layers: list[Neurons]) -> str:
    return ", ".join(layer.title for layer in layers)
