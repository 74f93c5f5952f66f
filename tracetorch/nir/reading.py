"""tt.from_nir: a NIR graph as a module for tt.scan."""

from __future__ import annotations

import importlib
import math
from os import PathLike
from typing import Any

import torch
from torch import nn

from ..layers.feedback import Feedback
from ..layers.layer import Layer
from .modules import INPUT, OUTPUT, Chain, Graph, Imported
from .neurons import NEURONS, Clock, Shape, neuron
from .nodes import STATELESS, after, expected, shape_of
from .report import EXACT, REFUSED, Refused, Report, Row
from .stages import METHODS
from .wiring import Wiring, wire

MEANT = {
    "Delay": "a delay is a node that no module here has",
}
"""Why the nodes that are known are refused."""


def from_nir(graph: Any, dt: float, method: str = "euler", *, dtype: torch.dtype | None = None,
             device: torch.device | str | None = None) -> Imported:
    """Return the module that a NIR graph describes, for `tt.scan` over x [T, B, ...].

        euler    v[t] = v[t-1] + dt*f(v[t-1], x[t])
        exact    v[t] solves dv/dt = f(v, x[t]) from v[t-1] over dt, with x[t] held

    A neuron fires where `v > v_threshold` at the end of a step, and then starts from `v_reset`. A node reads what its
    sources give in the same step; what several edges bring is summed. A neuron that reads itself through one Linear or
    Affine is a `tt.Feedback`: what it reads is a step old. States start at 0. Spikes are
    differentiated as `tt.functional.heavi_erfc(1.0)`, about which NIR says nothing.

    Args:
        graph: a `nir.NIRGraph`, or the path of a file.
        dt: length of a time step, above 0, in the unit of the graph's time constants.
        method: "euler" or "exact".
        dtype, device: of the parameters; torch's defaults without them.

    Returns:
        An `nn.Sequential` where the graph is a chain, else a module that sums branches; the nodes are its modules, by
        name. `report` is a table of what became of each.

    Raises:
        ValueError: a node that can't be said here, all of them named; a graph that can't be run; another dt or method.
        ImportError: the package nir is not installed.

    Source: Pedersen et al. 2024, Neuromorphic intermediate representation.
    """
    module, report = read(graph, dt, method, dtype)
    report.check("tt.from_nir", "node")
    return module.to(torch.get_default_device() if device is None else device)


def read(graph: Any, dt: float, method: str, dtype: torch.dtype | None = None) -> tuple[Imported, Report]:
    """Return the module, with placeholders for what is refused, and the report."""
    check_time("tt.from_nir", dt, method)
    report = Report()
    module, _ = _Reading(Clock(float(dt), method, dtype or torch.get_default_dtype()), report).graph(opened(graph))
    return module, report


def check_time(verb: str, dt: float, method: str) -> None:
    """Raise ValueError for a step or a method that is none."""
    if method not in METHODS:
        raise ValueError(f"{verb}: method={method!r} is not known, allowed are {', '.join(map(repr, METHODS))}")
    if not isinstance(dt, (int, float)) or isinstance(dt, bool) or not 0 < dt < math.inf:
        raise ValueError(f"{verb}: dt={dt!r} is no length of a step; allowed are finite numbers above 0, in the unit "
                         "of the time constants, such as 1e-4")


def package(verb: str) -> Any:
    """Return the package nir, which is an extra."""
    try:
        return importlib.import_module("nir")
    except ImportError:
        raise ImportError(f"{verb} needs the package nir: pip install tracetorch[nir]") from None


def opened(graph: Any) -> Any:
    """Return a graph, read from its file where a path is given."""
    if isinstance(graph, (str, PathLike)):
        graph = package("tt.from_nir").read(graph, type_check=False)
    if not (hasattr(graph, "nodes") and hasattr(graph, "edges")):
        raise TypeError(f"tt.from_nir: expected a nir.NIRGraph or the path of a file, got {type(graph).__name__}")
    return graph


class _Reading:
    """One graph being read: how time is cut, and the report that its nodes are written into."""

    def __init__(self, clock: Clock, report: Report) -> None:
        self.clock, self.report = clock, report

    def graph(self, graph: Any, path: str = "", shape: Shape | None = None) -> tuple[Imported, Shape | None]:
        """Return the module of a graph and the shape that it gives."""
        wiring = wire(graph)
        shape = shape or shape_of(wiring.start.input_type, "input")
        shapes: dict[str, Shape | None] = {INPUT: shape}
        modules: dict[str, nn.Module] = {}
        for name, node in wiring.nodes.items():
            modules[name], shapes[name] = self.node(path + name, node, self.common(name, wiring, shapes))
            if name in wiring.paths:
                modules[name] = self.feedback(modules[name], path, *wiring.paths[name], shapes[name])
        made: Imported = Chain() if wiring.is_chain else Graph(modules, wiring.sources)
        if isinstance(made, Chain):
            for name, module in modules.items():
                made.add_module(name, module)
        made.report, made.method = self.report, self.clock.method
        made.paths = {name: way for name, (way, _) in wiring.paths.items()}
        made.input_shape = shape or _first_shape(wiring)
        return made, self.common(OUTPUT, wiring, shapes)

    def common(self, name: str, wiring: Wiring, shapes: dict[str, Shape | None]) -> Shape | None:
        """Return the one shape that all sources of a node have."""
        known = {shapes[source]: source for source in wiring.sources[name] if shapes[source] is not None}
        if len(known) > 1:
            what = ", ".join(f"{source!r} gives {list(shape or ())}" for shape, source in known.items())
            raise ValueError(f"tt.from_nir: {name!r} sums what its edges bring, and the shapes differ: {what}")
        return next(iter(known), None)

    def node(self, name: str, node: Any, shape: Shape | None) -> tuple[nn.Module, Shape | None]:
        """Return the module of a node and the shape that it gives; a placeholder where the node is refused."""
        kind = type(node).__name__
        if kind == "NIRGraph":
            return self.graph(node, f"{name}.", shape)
        try:
            module, shape, verdict, note = self.made(kind, node, shape)
        except Refused as why:
            self.report.rows.append(Row(name, kind, "-", REFUSED, str(why)))
            return nn.Identity(), shape_of(getattr(node, "output_type", None), "output")
        self.report.rows.append(Row(name, kind, type(module).__name__, verdict, note))
        return module, shape

    def feedback(self, neuron: nn.Module, path: str, name: str, node: Any, shape: Shape | None) -> nn.Module:
        """Return a neuron that hears itself through a matrix."""
        way, _ = self.node(path + name, node, shape)
        if not (isinstance(neuron, Layer) and isinstance(way, nn.Linear)):      # refused already
            return neuron
        return Feedback(neuron, way)

    def made(self, kind: str, node: Any, shape: Shape | None) -> tuple[nn.Module, Shape | None, str, str]:
        if kind in NEURONS:
            return neuron(kind, node, shape, self.clock)
        if kind not in STATELESS:
            raise Refused(MEANT.get(kind, "no node of this type is known"))
        own = expected(kind, node)
        if shape is not None and own is not None and own != shape:
            raise Refused(f"it takes an input of shape {list(own)}, and gets {list(shape)}")
        module, shape = STATELESS[kind](kind, node, self.clock), shape or own
        return module, None if shape is None else after(module, shape), EXACT, ""


def _first_shape(wiring: Wiring) -> Shape | None:
    """Return the shape of a step that the first node says."""
    for name, node in wiring.nodes.items():
        if INPUT in wiring.sources[name]:
            kind = type(node).__name__
            return shape_of(node.input_type, "input") if kind in NEURONS else expected(kind, node)
    return None
