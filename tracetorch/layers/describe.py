"""Text about a composition, assembled from its stages."""

from __future__ import annotations

import inspect
import textwrap
from typing import TYPE_CHECKING, Any

from torch import nn

from ..stages import Stage

if TYPE_CHECKING:
    from ..pipeline import Pipeline


def summary(stage: Stage) -> str:
    """Return the first sentence of a stage's docstring."""
    return inspect.cleandoc(type(stage).__doc__ or type(stage).__name__).split("\n\n")[0].replace("\n", " ")


def recurrence(stage: Stage) -> str:
    """Return the indented lines of a stage's docstring: its formulas."""
    _, *paragraphs = inspect.cleandoc(type(stage).__doc__ or "").split("\n\n")
    indented = [p for p in paragraphs if p.startswith("    ")]
    if not indented:        # with nothing but formulas below the summary, cleandoc has taken the indentation
        indented = [p for p in paragraphs[:1] if all(set(line) & set("=+*") for line in p.split("\n"))]
    return textwrap.dedent("\n".join(indented))


def _name_of(function: Any) -> str:
    if isinstance(function, nn.Identity):
        return "the identity"
    return getattr(function, "__name__", None) or repr(function)


def docstring(title: str, pipeline: Pipeline, signature: inspect.Signature) -> str:
    """Return the docstring of a composed class: what it computes per step, its parameters and its states."""
    names = ", ".join(type(stage).__name__ for stage in pipeline.stages)
    lines = [f"{title}: neurons composed of {names}.", "", "Per step, in this order:", ""]
    for stage in pipeline.stages:
        lines.append(f"{type(stage).__name__}: {summary(stage)}")
        lines += ["", textwrap.indent(recurrence(stage), "    "), ""] if recurrence(stage) else [""]
    lines += ["Args:", "    num_neurons: number of neurons along `dim`."]
    for name, declared in pipeline.parameters.items():
        lines.append(f"    {name}: {declared.allowed}; number or tensor of shape [] or [num_neurons], "
                     f"default {signature.parameters[name].default}.")
    for_all = [name for name in pipeline.parameters if signature.parameters[f"{name}_rank"].default == 0]
    but = f"; 0 of {', '.join(for_all)}" if for_all else ""
    lines += [
        "    dim: the neuron dimension of one step's tensor, default -1.",
        f"    *_rank: 1 for one value per neuron (default{but}), 0 for one value for all; a tensor sets its own.",
        "    learn_*: False keeps the value as a buffer.",
    ]
    if pipeline.fires:
        spike_fn, quant_fn = (signature.parameters[name].default for name in ("spike_fn", "quant_fn"))
        lines += [f"    spike_fn: from distance to threshold to spike (probability), default {_name_of(spike_fn)}.",
                  f"    quant_fn: from that to the spike that is sent, default {_name_of(quant_fn)}."]
    lines += ["    device, dtype: of the parameters.", "", "States (shaped like one step, None until used):"]
    lines += [f"    {name}" for name in pipeline.states]
    return "\n".join(lines)
