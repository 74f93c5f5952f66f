"""How the nodes of a NIR graph hang together: their order, and what each of them reads."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from .modules import INPUT, OUTPUT, Chain, Graph
from .neurons import NEURONS

Edge = tuple[str, str]
TAKEN = {INPUT, OUTPUT, *dir(Chain), *dir(Graph), *vars(Chain()), "sources"}
"""Names that no module inside can have."""


@dataclass(frozen=True)
class Wiring:
    """Nodes by the names of their modules.

    Attributes:
        nodes: each after those that it reads.
        sources: what each node and "output" read within a step: nodes, or "input".
        paths: for each neuron that hears itself, one step later, the node on the way: its name and itself.
        start: the Input node.
    """

    nodes: dict[str, Any]
    sources: dict[str, tuple[str, ...]]
    paths: dict[str, tuple[str, Any]]
    start: Any

    @property
    def is_chain(self) -> bool:
        """Whether each node reads the one before."""
        before = [(name,) for name in (INPUT, *self.nodes)]
        return [self.sources[name] for name in (*self.nodes, OUTPUT)] == before


def wire(graph: Any) -> Wiring:
    """Return the wiring of a graph, or raise ValueError where it has none that can be run step by step."""
    ends = {kind: [name for name, node in graph.nodes.items() if type(node).__name__ == kind]
            for kind in ("Input", "Output")}
    for kind, found in ends.items():
        if len(found) != 1:
            raise ValueError(f"tt.from_nir: the graph has {len(found)} nodes of type {kind} "
                             f"({', '.join(map(repr, found)) or 'none'}), allowed is one: tt.scan takes one tensor "
                             "and gives one")
    edges = _checked(graph)
    names = _names(name for name in graph.nodes if name not in (ends["Input"][0], ends["Output"][0]))
    called = {**names, ends["Input"][0]: INPUT, ends["Output"][0]: OUTPUT}
    sources: dict[str, tuple[str, ...]] = {called[name]: () for name in graph.nodes}
    for source, target in edges:
        sources[called[target]] += (called[source],)
    read = {source for those in sources.values() for source in those}
    if sources.pop(INPUT) or OUTPUT in read:
        raise ValueError("tt.from_nir: an edge leads into the Input or out of the Output")
    nodes = {names[name]: node for name, node in graph.nodes.items() if name in names}
    paths = _feedback(nodes, sources)
    _connected(nodes, sources)
    return Wiring({name: nodes[name] for name in _order(nodes, sources)}, sources, paths, graph.nodes[ends["Input"][0]])


def _checked(graph: Any) -> list[Edge]:
    """Return the edges; each must join two nodes, and once."""
    edges = [(str(a), str(b)) for a, b in graph.edges]
    for edge in edges:
        for end in edge:
            if end not in graph.nodes:
                raise ValueError(f"tt.from_nir: the edge {edge} names {end!r}, which is no node of the graph")
        if edges.count(edge) > 1:
            raise ValueError(f"tt.from_nir: the edge {edge} is there {edges.count(edge)} times; write it once, and "
                             "put a factor into a Scale node")
    return edges


def _names(nodes: Any) -> dict[str, str]:
    """Return a name for the module of each node: its own, where a module can be called so."""
    names: dict[str, str] = {}
    for name in nodes:
        new = name.replace(".", "_") or "node"
        while new in TAKEN or new in names.values():
            new += "_"
        names[name] = new
    return names


def _connected(nodes: dict[str, Any], sources: dict[str, tuple[str, ...]]) -> None:
    """Raise ValueError for a node that reads nothing, or that nothing reads."""
    read = {source for those in sources.values() for source in those}
    for name, node in nodes.items():
        if not sources[name]:
            raise ValueError(f"tt.from_nir: node {name!r} ({type(node).__name__}): no edge leads into it")
        if name not in read:
            raise ValueError(f"tt.from_nir: node {name!r} ({type(node).__name__}): no edge leads out of it; connect "
                             "it to the Output, or leave it out")
    if not sources[OUTPUT]:
        raise ValueError("tt.from_nir: no edge leads to the Output")


def _feedback(nodes: dict[str, Any], sources: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, Any]]:
    """Take cycles of a neuron and one matrix out of nodes and sources, and return them."""
    found: dict[str, tuple[str, Any]] = {}
    for path in [name for name, node in nodes.items() if type(node).__name__ in ("Linear", "Affine")]:
        readers = [name for name, those in sources.items() if path in those]
        if len(readers) != 1 or sources[path] != (readers[0],) or type(nodes[readers[0]]).__name__ not in NEURONS:
            continue
        (name,) = readers
        if name in found:
            raise ValueError(f"tt.from_nir: node {name!r} ({type(nodes[name]).__name__}): two cycles lead back to it, "
                             f"through {found[name][0]!r} and {path!r}; join their weights in one node")
        found[name] = path, nodes.pop(path)
        sources[name] = tuple(source for source in sources[name] if source != path)
        del sources[path]
        if not sources[name]:
            raise ValueError(f"tt.from_nir: node {name!r} ({type(nodes[name]).__name__}): it reads nothing but itself")
    return found


def _order(nodes: dict[str, Any], sources: dict[str, tuple[str, ...]]) -> list[str]:
    sorter = TopologicalSorter({name: _within(sources[name], nodes) for name in nodes})
    try:
        return list(sorter.static_order())
    except CycleError as error:
        circle = list(reversed(error.args[1]))
        what = " -> ".join(f"{name} ({type(nodes[name]).__name__})" for name in circle)
        raise ValueError(f"tt.from_nir: node {circle[0]!r} ({type(nodes[circle[0]]).__name__}): it lies on the cycle "
                         f"{what}; allowed is one neuron that reads itself through one Linear or Affine") from None


def _within(names: tuple[str, ...], nodes: Collection[str]) -> list[str]:
    return [name for name in names if name in nodes]
