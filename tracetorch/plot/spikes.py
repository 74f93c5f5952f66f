"""What a network did: spikes, traces of states, firing rates."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from . import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def raster(spikes: Any, ax: Axes | None = None) -> Axes:
    """Draw one mark per spike, time to the right and neurons upwards.

    Positive spikes and negative ones have their own colour; a mark is as opaque as its spike is large,
    relative to the largest.

    Args:
        spikes: output of a firing layer, [T, N] or [T].
        ax: where to draw; a new figure without it.

    Returns:
        The axes that were drawn in.

    Raises:
        ValueError: `spikes` has more than two dimensions.
    """
    ax = style.one(ax)
    values = style.over_neurons(spikes, "raster")
    largest = np.abs(values).max(initial=0.0)
    for colour, sign, label in ((style.POSITIVE, 1, "positive"), (style.NEGATIVE, -1, "negative")):
        time, neuron = np.nonzero(sign * values > 0)
        opacity = np.abs(values[time, neuron]) / largest if len(time) else None
        ax.vlines(time, neuron - 0.4, neuron + 0.4, color=colour, alpha=opacity, lw=1.4, label=label)
    ax.set_xlim(-0.5, len(values) - 0.5)
    ax.set_ylim(-0.5, values.shape[1] - 0.5)
    ax.set_ylabel("neuron")
    style.whole_numbers(ax.yaxis)
    style.time_axis(ax)
    if (values < 0).any():
        ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, borderaxespad=0)
    return ax


def traces(
    values: Any,
    ax: Axes | None = None,
    *,
    neurons: Sequence[int] = (0,),
    layer: torch.nn.Module | None = None,
    spikes: Any = None,
) -> Axes:
    """Draw states of chosen neurons over time, with the levels at which they fire and the spikes they sent.

    A neuron has a colour, a state a line style; a curve that is drawn over others is thinner, so that those that agree
    can be told apart. With `layer`, a thin line shows where each chosen neuron
    fires (`threshold - bias`; for two-sided neurons also `-neg_threshold - bias`), moved by `shift` where
    `values` has it. With `spikes`, ticks at the upper edge mark positive spikes, at the lower edge negative.

    Args:
        values: one trace [T, N], or traces by name as `tt.scan(..., record=...)` returns them.
        ax: where to draw; a new figure without it.
        neurons: which neurons to draw.
        layer: the layer the traces come from, for its thresholds.
        spikes: its output, [T, N].

    Returns:
        The axes that were drawn in.

    Raises:
        ValueError: a trace is not [T, N], or has no such neuron.
    """
    ax = style.one(ax)
    named = values if isinstance(values, Mapping) else {"": values}
    arrays = {name: style.over_neurons(v, "traces") for name, v in named.items()}
    sent = None if spikes is None else style.over_neurons(spikes, "traces")
    shift = arrays.pop("shift", None)
    for array in arrays.values():
        if not all(-array.shape[1] <= n < array.shape[1] for n in neurons):
            raise ValueError(f"traces: got neurons {list(neurons)}, allowed are 0 to {array.shape[1] - 1}")
    for i, n in enumerate(neurons):
        colour = style.CYCLE[i % len(style.CYCLE)]
        for k, (name, array) in enumerate(arrays.items()):
            label = f"neuron {n}" if not name else name if len(neurons) == 1 else f"{name}, neuron {n}"
            width = style.width(i * len(arrays) + k, len(neurons) * len(arrays))
            ax.plot(array[:, n], style.LINES[k % len(style.LINES)], color=colour, lw=width, label=label)
        for level in _levels(layer, n):
            moved = level + (0.0 if shift is None else np.sign(level) * shift[:, n])
            line = np.broadcast_to(moved, len(array))
            ax.plot(line, color=colour, lw=0.8, ls=(0, (6, 3)), alpha=0.7, label=_first(ax, "threshold"))
        if sent is not None:
            _ticks(ax, sent[:, n], i, colour)
    style.time_axis(ax)
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, frameon=False, borderaxespad=0)
    return ax


def _levels(layer: torch.nn.Module | None, neuron: int) -> list[float]:
    """Return the membrane values at which a neuron of the layer starts to fire, the positive one first."""

    def value(name: str) -> float | None:
        tensor = getattr(layer, name, None)
        if tensor is None:
            return None
        array = style.as_array(tensor)
        return float(array if array.ndim == 0 else array[neuron])

    bias = value("bias") or 0.0
    upper = [value("threshold"), value("pos_threshold")]
    lower = [value("neg_threshold")]
    return [t - bias for t in upper if t is not None] + [-t - bias for t in lower if t is not None]


def _first(ax: Axes, label: str) -> str:
    """Return `label`, or none where the legend has it already."""
    return "_" if label in ax.get_legend_handles_labels()[1] else label


def _ticks(ax: Axes, spikes: np.ndarray, row: int, colour: str) -> None:
    """Mark spikes along the upper and lower edge, each neuron in a row of its own."""
    for sign, edge, away in ((1, 0.985, -1), (-1, 0.015, 1)):
        (time,) = np.nonzero(sign * spikes > 0)
        height = np.full(len(time), edge + away * 0.03 * row)
        ax.plot(time, height, "|", color=colour, ms=6, mew=1.5, transform=ax.get_xaxis_transform())


def rates(model: torch.nn.Module, x: torch.Tensor, ax: Axes | None = None) -> Axes:
    """Draw how often the neurons of every firing layer spike, one row per layer.

    A row shows the mean of `|output|` per neuron over time and batch: the box spans the middle half of the
    neurons, the whiskers all of them, and the label counts those that stayed silent. A copy of the model is
    stepped through `x` from fresh states, so the model's own states stay as they are.

    Args:
        model: any module with tracetorch layers inside, or a layer.
        x: input over time, [T, ...].
        ax: where to draw; a new figure without it.

    Returns:
        The axes that were drawn in.

    Raises:
        ValueError: no layer of the model fires.
    """
    found = _firing_rates(model, x)
    if not found:
        raise ValueError("rates: the model has no layer that fires; add one such as tt.snn.LIB")
    labels = [f"{name}\n{len(r)} neurons, {(r == 0).mean():.0%} silent" for name, r in found.items()]
    return boxes(style.one(ax), list(found.values()), labels)


def boxes(ax: Axes, rates: Sequence[np.ndarray], labels: Sequence[str]) -> Axes:
    """Draw a box for the rates of each layer: the middle half of its neurons, whiskers over all of them."""
    for row, rate in enumerate(rates):
        box = ax.boxplot(rate, positions=[row], orientation="horizontal", widths=0.5, whis=(0, 100),
                         patch_artist=True)
        box["boxes"][0].set(facecolor=style.POSITIVE, alpha=0.35, edgecolor=style.POSITIVE)
        box["medians"][0].set(color=style.NEGATIVE, lw=2)
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(max(len(labels), 1) - 0.5, -0.5)
    ax.set_xlim(left=-0.02 * ax.get_xlim()[1])  # keeps a median of zero in sight
    ax.set_xlabel("spikes per neuron and time step")
    return ax


def _firing_rates(model: torch.nn.Module, x: torch.Tensor) -> dict[str, np.ndarray]:
    """Return the mean of |output| per neuron of each layer that fires, by the layer's name in the model."""
    from ..layers.layer import Layer
    from ..layers.states import zero_states

    model = copy.deepcopy(model)
    zero_states(model)
    outputs: dict[str, list[np.ndarray]] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, Layer) and hasattr(layer, "spike_fn"):
            seen = outputs.setdefault(f"{name} {type(layer).__name__}".strip(), [])
            layer.register_forward_hook(lambda layer, args, y, seen=seen: seen.append(_per_neuron(layer, y)))
    with torch.no_grad():
        for x_t in x:
            model(x_t)
    return {name: np.mean(seen, axis=0) for name, seen in outputs.items() if seen}


def _per_neuron(layer: Any, output: torch.Tensor) -> np.ndarray:
    array = np.abs(style.as_array(output))
    return np.moveaxis(array, layer.dim, -1).reshape(-1, layer.num_neurons).mean(0)     # [N]
