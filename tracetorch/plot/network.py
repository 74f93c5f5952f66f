"""What a whole network does: the report of `tt.activity` as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import style
from .spikes import boxes

if TYPE_CHECKING:
    from ..activity import Report


def activity(report: Report, axes: Any = None) -> np.ndarray:
    """Draw a report of `tt.activity`: how often neurons fire, and what the weights between them cost.

    On the left a row per firing layer: the box spans the rates of the middle half of its neurons, the whiskers all
    of them, the red line is the median. On the right a row per module with weights: what it multiplies in a step of
    one element if it computes densely (pale), and the operations whose input is not zero (solid).

    Args:
        report: from `tt.activity`.
        axes: two axes; a new figure without them.

    Returns:
        The axes that were drawn in.

    Raises:
        TypeError: `report` is no report.
        ValueError: `axes` are not two.
    """
    for needed in ("layers", "synapses"):
        if not hasattr(report, needed):
            raise TypeError(f"activity: needs the report of tt.activity(model, x), got {type(report).__name__}")
    firing = [layer for layer in report.layers.values() if layer.rates is not None]
    rows = max(len(firing), len(report.synapses), 1)
    axes = style.grid(axes, (1, 2), (4.6, 0.8 + 0.4 * rows), "activity")
    left, right = axes.flat
    rates = [style.as_array(layer.rates) for layer in firing]
    boxes(left, rates, [f"{layer.title}\n{layer.silent:.0%} silent" for layer in firing])
    _operations(right, report)
    return axes


def _operations(ax: Any, report: Report) -> None:
    """Draw a pale bar for multiplications and a solid one for operations, per step of one element."""
    modules = list(report.synapses.values())
    places = range(len(modules))
    dense = [m.multiplications / report.elements for m in modules]
    done = [m.operations / report.elements for m in modules]
    ax.barh(places, dense, height=0.6, color=style.NEUTRAL, alpha=0.35, label="multiplications if dense")
    ax.barh(places, done, height=0.3, color=style.POSITIVE, label="operations")
    ax.set_yticks(places, [m.title for m in modules])
    ax.set_ylim(max(len(modules), 1) - 0.5, -0.5)
    ax.set_xlabel("per time step")
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, borderaxespad=0)
