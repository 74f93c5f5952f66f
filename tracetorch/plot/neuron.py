"""What a neuron is: its response to standard inputs, its surrogate, its parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from . import style
from .spikes import traces

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..layers.layer import Layer

STIMULI = ("pulse", "step", "ramp", "noise")


def response(
    neuron: type[Layer],
    axes: Any = None,
    *,
    height: float = 1.0,
    steps: int = 80,
    **kwargs: Any,
) -> np.ndarray:
    """Draw how one neuron of a class answers a pulse, a step, a ramp and noise, each upwards and downwards.

    The columns are the four inputs; the rows are input, membrane before reset (with its thresholds where
    the neuron fires) and output.

    Args:
        neuron: a class such as `tt.snn.LIB`.
        axes: twelve axes, row by row; a new figure without them.
        height: of the pulses, the step and the ramp, and twice the standard deviation of the noise.
        steps: time steps of each input, 10 or more.
        kwargs: for the class, such as `beta=0.95` or `quant_fn=tt.functional.round_ste()`.

    Returns:
        The axes that were drawn in.

    Raises:
        ValueError: `axes` are not twelve, or `steps` is below 10.
    """
    from ..scan import scan

    if steps < 10:
        raise ValueError(f"response: steps must be 10 or more, got {steps}")
    layer = neuron(1, **kwargs)
    axes = style.grid(axes, (3, len(STIMULI)), (2.6, 1.5), "response", sharex=True, sharey="row")
    for column, (name, x) in zip(axes.T, stimuli(height, steps).items(), strict=True):
        layer.zero_states()
        with torch.no_grad():
            y, recorded = scan(layer, x[:, None], record=("potential",))
        top, middle, bottom = column
        top.fill_between(range(steps), x, step="mid", color=style.NEUTRAL, alpha=0.5, lw=0)
        top.set_title(name)
        traces(recorded["potential"], middle, layer=layer)
        middle.get_legend().remove()
        middle.set_xlabel("")
        _stems(bottom, y[:, 0])
        style.time_axis(bottom)
        bottom.xaxis.get_major_locator().set_params(nbins=4)
    for ax, label in zip(axes[:, 0], ("input", "membrane", "output"), strict=True):
        ax.set_ylabel(label)
    return axes


def stimuli(height: float, steps: int) -> dict[str, torch.Tensor]:
    """Return the inputs of `response` by name, each [steps]."""
    t = torch.arange(steps) / steps
    noise = torch.randn(steps, generator=torch.Generator().manual_seed(0))
    up, down = round(0.1 * steps), round(0.6 * steps)
    pulse = torch.zeros(steps)
    pulse[up], pulse[down] = 1.0, -1.0
    step = ((t >= 0.1) & (t < 0.4)).float() - ((t >= 0.6) & (t < 0.9)).float()
    shapes = {"pulse": pulse, "step": step, "ramp": 2 * t - 1, "noise": noise / 2}
    return {name: height * shape for name, shape in shapes.items()}


def _stems(ax: Axes, output: torch.Tensor) -> None:
    values = style.as_array(output)
    ax.axhline(0.0, color=style.NEUTRAL, lw=0.6)
    for colour, sign in ((style.POSITIVE, 1), (style.NEGATIVE, -1)):
        (time,) = np.nonzero(sign * values > 0)
        ax.vlines(time, 0.0, values[time], color=colour, lw=1.6)


def surrogate(
    spike_fn: Callable[[torch.Tensor], torch.Tensor],
    ax: Axes | None = None,
    *,
    limits: tuple[float, float] = (-2.0, 2.0),
) -> Axes:
    """Draw a spike function and the derivative that training sees.

    Args:
        spike_fn: any function of one tensor that autograd can follow, such as `tt.functional.sigmoid4x`.
        ax: where to draw; a new figure without it.
        limits: smallest and largest distance of the membrane from the threshold.

    Returns:
        The axes that were drawn in.

    Raises:
        ValueError: `limits` are not in ascending order.
    """
    if not limits[0] < limits[1]:
        raise ValueError(f"surrogate: limits must ascend, got {limits}")
    ax = style.one(ax)
    x = torch.linspace(*limits, 801).requires_grad_()
    with torch.enable_grad():
        y = spike_fn(x)
        (slope,) = torch.autograd.grad(y.sum(), x)
    at = style.as_array(x)
    ax.plot(at, style.as_array(y), color=style.POSITIVE, lw=1.8, label="spike")
    ax.plot(at, style.as_array(slope), color=style.NEGATIVE, lw=1.4, ls="--", label="derivative in training")
    ax.fill_between(at, style.as_array(slope), color=style.NEGATIVE, alpha=0.12, lw=0)
    ax.set_xlabel("membrane above threshold")
    ax.legend(frameon=False)
    return ax


def distribution(layer: Any, axes: Any = None, *, names: Sequence[str] | None = None) -> np.ndarray:
    """Draw how each parameter of a layer is spread over its neurons, one panel per parameter.

    Values are the constrained ones (a decay lies in (0, 1)). A line marks the mean; of a parameter that
    all neurons share there is only the line.

    Args:
        layer: a composed layer.
        axes: one axes per parameter; a new figure without them.
        names: which parameters; all of them by default.

    Returns:
        The axes that were drawn in.

    Raises:
        ValueError: the layer has no such parameter or none at all, or the number of axes is another.
    """
    values = {name: style.as_array(v) for name, v in layer.constrained().items()}
    unknown = [name for name in names or () if name not in values]
    if unknown:
        has = ", ".join(values)
        raise ValueError(f"distribution: {type(layer).__name__} has no {unknown[0]!r}; it has {has}")
    if not values:
        raise ValueError(f"distribution: {type(layer).__name__} has no parameters to draw")
    chosen = list(names or values)
    axes = style.grid(axes, (1, len(chosen)), (2.4, 2.2), "distribution")
    for ax, name in zip(axes.flat, chosen, strict=True):
        array = values[name]
        mean = array.mean()
        if array.ndim:
            style.whole_numbers(ax.yaxis)
            ax.hist(array, bins=min(31, max(5, len(array) // 4) | 1), color=style.POSITIVE, alpha=0.6)
        else:
            ax.set_xlim(mean - 0.5, mean + 0.5)
            ax.set_yticks([])
        ax.axvline(mean, color=style.NEGATIVE, lw=1.5)
        ax.set_title(name)
        ax.set_xlabel(f"{'mean' if array.ndim else 'shared'} {mean:.3g}")
    axes[0, 0].set_ylabel("neurons")
    return axes
