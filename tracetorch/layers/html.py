"""How a composed class and a layer show themselves in a notebook: the pipeline as a row of boxes."""

from __future__ import annotations

import re
from html import escape
from types import MethodType
from typing import TYPE_CHECKING, Any

from ..stages import Stage
from .describe import recurrence

if TYPE_CHECKING:
    from torch import Tensor

_ROW = "display:flex;flex-wrap:wrap;align-items:stretch;gap:4px;font-size:90%"
_BOX = "border:1px solid currentColor;border-radius:6px;padding:6px 10px;max-width:28em;overflow-x:auto"
_PRE = "margin:4px 0;font-size:90%;background:none;white-space:pre;word-break:normal"
_END = "align-self:center;opacity:.75"
_ARROW = f'<div style="{_END}">&rarr;</div>'


class Shown:
    """`_repr_html_` of a class as well as of its instances: notebooks call it only where it is a bound method."""

    def __get__(self, layer: Any, cls: Any) -> MethodType:
        return MethodType(_show, cls if layer is None else layer)


def _show(what: Any) -> str | None:
    cls, layer = (what, None) if isinstance(what, type) else (type(what), what)
    return diagram(cls, layer) if hasattr(cls, "stages") else None


def diagram(cls: Any, layer: Any = None) -> str:
    """Return a diagram of a composed class, or of one of its layers with its values, as HTML.

    Args:
        cls: a composed class.
        layer: an instance of it, whose parameters and states are shown.
    """
    boxes = [_box(stage, cls.pipeline, layer) for stage in cls.stages]
    title = f"{cls.__name__}({layer.extra_repr()})" if layer is not None else cls.__name__
    ends = [f'<div style="{_END}">{end}</div>' for end in ("input", "output")]
    return f"<div><b>{escape(title)}</b><div style='{_ROW}'>{_ARROW.join([ends[0], *boxes, ends[1]])}</div></div>"


def feedback(layer: Any) -> str:
    """Return a diagram of a `tt.Feedback`: that of its neuron, and the way back below it."""
    inner = layer.neuron
    shown = diagram(type(inner), inner) if hasattr(type(inner), "stages") else f"<b>{escape(repr(inner))}</b>"
    back = f"<div style='{_END}'>&larr; {escape(repr(layer.path))} &larr; the output, one step later</div>"
    return f"<div><b>Feedback</b><div style='{_BOX};max-width:none'>{shown}{back}</div></div>"


def _box(stage: Stage, pipeline: Any, layer: Any) -> str:
    formula = escape(re.sub(r" {6,}", "\n", recurrence(stage)))      # a line each: boxes are narrow
    rows = [f"<div>{_parameter(name, declared, layer)}</div>" for name, declared in pipeline.parameters.items()
            if declared in stage.parameters().values()]
    rows += [f"<div>{_state(name, layer)}</div>" for name, declared in pipeline.states.items()
             if declared in stage.states().values()]
    code = f"<pre style='{_PRE}'>{formula}</pre>" if formula else ""
    return f"<div style='{_BOX}'><b>{escape(stage.label)}</b>{code}{''.join(rows)}</div>"


def _parameter(name: str, declared: Any, layer: Any) -> str:
    if layer is None:
        return f"parameter <code>{name}</code> = {declared.default:g}"
    value = getattr(layer, name)
    stored = layer._parameters.get(f"raw_{name}")
    learned = "learned" if stored is not None and stored.requires_grad else "fixed"
    return f"parameter <code>{name}</code> = {extent(value)}, {learned}"


def _state(name: str, layer: Any) -> str:
    value = getattr(layer, name) if layer is not None else None
    shape = f", shape {list(value.shape)}" if value is not None else ", not used yet" if layer is not None else ""
    return f"state <code>{name}</code>{shape}"


def extent(value: Tensor) -> str:
    """Return a value, or its range and number: `0.9`, `0.5 to 0.99 (128)`."""
    low, high = float(value.detach().min()), float(value.detach().max())
    span = f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
    return span if value.ndim == 0 else f"{span} ({value.numel()})"
