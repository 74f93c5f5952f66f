"""What all pictures share: matplotlib on demand, axes, colours, and values as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

POSITIVE, NEGATIVE, NEUTRAL = "#1f6fb4", "#d1495b", "#8a8f98"
CYCLE = (POSITIVE, "#e08a1e", "#3b8f5a", "#8a5bb5", "#17a2a8", "#b0476f", "#6b705c", "#30475e")
LINES = ("-", "--", ":", "-.")
THIN, WIDER = 1.4, 1.2


def pyplot() -> Any:
    """Import matplotlib.pyplot, or say which extra brings it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise ImportError("tracetorch.plot needs matplotlib: pip install tracetorch[plot]") from None
    return plt


def one(ax: Axes | None) -> Axes:
    """Return `ax`, or the axes of a new figure; without the frame's upper and right side."""
    if ax is None:
        _, ax = pyplot().subplots(layout="constrained")
    return bare(ax)


def grid(
    axes: Any, shape: tuple[int, int], size: tuple[float, float], where: str, **kwargs: Any
) -> np.ndarray:
    """Return `axes` as an array of `shape`, or those of a new figure with panels of `size` inches."""
    rows, columns = shape
    if axes is None:
        figsize = (columns * size[0], rows * size[1])
        _, axes = pyplot().subplots(
            rows, columns, figsize=figsize, squeeze=False, layout="constrained", **kwargs
        )
    axes = np.asarray(axes, dtype=object)
    if axes.size != rows * columns:
        raise ValueError(f"{where}: got {axes.size} axes, needs {rows} rows of {columns}")
    axes = axes.reshape(shape)
    for ax in axes.flat:
        bare(ax)
    return axes


def bare(ax: Axes) -> Axes:
    """Take away the frame's upper and right side."""
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def width(curve: int, curves: int) -> float:
    """Return the width of a curve among others: what is drawn later, and may cover the earlier ones, is thinner."""
    return THIN + WIDER * (curves - 1 - curve) / max(curves, 3)


def over_neurons(values: Any, where: str) -> np.ndarray:
    """Return values over time as an array [T, N]; a single neuron may come as [T]."""
    array = as_array(values)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        got = f"{where}: got shape {list(array.shape)}"
        raise ValueError(f"{got}, allowed is [T, N]; choose one element of the batch, as in values[:, 0]")
    return array


def as_array(values: Any) -> np.ndarray:
    """Return a tensor or array, on any device and with or without graph, as a NumPy array."""
    if isinstance(values, torch.Tensor):
        return values.detach().to("cpu", torch.float64).numpy()
    return np.asarray(values, dtype=float)


def whole_numbers(axis: Axis) -> None:
    """Put ticks only where neurons, time steps and counts can be."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))


def time_axis(ax: Axes) -> None:
    """Label the horizontal axis as time, in whole steps."""
    ax.set_xlabel("time step")
    whole_numbers(ax.xaxis)
