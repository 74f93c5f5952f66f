"""tt.to_nir: a module as a NIR graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..layers.feedback import Feedback
from ..layers.layer import computed_by
from ..layers.linear import Linear
from ..layers.neuron import Neuron
from .modules import INPUT, OUTPUT, EachPlace, Graph, Imported, Scale, SumPool2d, Threshold
from .neurons import Clock, Shape
from .nodes import after, shape_of, sizes
from .reading import check_time, package
from .report import EXACT, REFUSED, Refused, Report, Row
from .said import REACHED, below, reaches, said

Sources = list[str]
End = tuple[Sources, Shape | None]
"""What gives an output, and the shape of one step of it where that is known."""
IDLE = (nn.Identity, nn.modules.dropout._DropoutNd)
"""Modules that do nothing in a network that is not being trained."""


def to_nir(model: nn.Module, dt: float, method: str | None = None, *, input_shape: Shape | None = None) -> Any:
    """Return a `nir.NIRGraph` that says what a model computes; `nir.write(path, graph)` makes a file of it.

    Time constants follow from decays: `tau = dt/(1 - beta)` under "euler", `tau = -dt/log(beta)` under "exact". The
    graph read back by `tt.from_nir` with the same `dt` and `method` gives the same numbers.

    Args:
        model: layers and modules in `nn.Sequential`, or what `tt.from_nir` made.
        dt: length of a time step, above 0, in the unit that the time constants are to have.
        method: "euler" or "exact"; without it that of an imported module, else "euler".
        input_shape: of one step without the batch, where the first module does not say it (a convolution does not).

    Returns:
        The graph, its nodes named by the paths of the modules, with "_" for ".".

    Raises:
        ValueError: a layer that NIR can't say, all of them named; shapes that are not known; another dt or method.
        ImportError: the package nir is not installed.

    Source: Pedersen et al. 2024, Neuromorphic intermediate representation.
    """
    writing = write(model, dt, method, input_shape)
    writing.report.check("tt.to_nir", "layer")
    return writing.graph()


def write(model: nn.Module, dt: float, method: str | None = None, input_shape: Shape | None = None) -> _Writing:
    """Return nodes and edges of a model, and the report of what became of each layer."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"tt.to_nir: expected a torch.nn.Module, got {type(model).__name__}")
    method = method or getattr(model, "method", None) or "euler"
    check_time("tt.to_nir", dt, method)
    shape = input_shape or getattr(model, "input_shape", None)
    writing = _Writing(Clock(float(dt), method, torch.float32))
    writing.whole(model, None if shape is None else tuple(shape))
    return writing


class _Writing:
    """A graph being written: its nodes and edges so far, and what became of each layer."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.report, self.nir = clock, Report(), package("tt.to_nir")
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []
        self.shape: Shape | None = None
        self.ways: dict[str, str] = {}
        self.counted = True

    def whole(self, model: nn.Module, shape: Shape | None) -> None:
        """Write a model between an Input and an Output."""
        self.nodes[INPUT] = None
        self.shape = shape
        sources, shape = self.module(model, "", [INPUT], shape)
        if self.report.refused:
            return
        if shape is None or self.shape is None:
            raise ValueError("tt.to_nir: the model has no layer that says a shape; pass input_shape=, the shape of one "
                             "step without the batch")
        self.nodes[INPUT] = self.nir.Input({"input": np.array(self.shape)})
        self.join(sources, OUTPUT, self.nir.Output({"output": np.array(shape)}))

    def graph(self) -> Any:
        """Return what was written; nir checks the shapes, but where it counts those of a convolution wrongly."""
        return self.nir.NIRGraph(nodes=self.nodes, edges=self.edges, type_check=self.counted)

    def join(self, sources: Sources, name: str, node: Any) -> Sources:
        """Add a node that reads `sources`."""
        if name in self.nodes:
            raise ValueError(f"tt.to_nir: two nodes would be called {name!r}; rename one of the modules")
        self.nodes[name] = node
        for source in sources:
            if (source, name) in self.edges:
                raise ValueError(f"tt.to_nir: {name!r} reads {source!r} twice, and a graph of NIR has each edge once")
            self.edges.append((source, name))
        return [name]

    def module(self, module: nn.Module, path: str, sources: Sources, shape: Shape | None) -> End:
        """Write a module that reads `sources`; return what gives its output, and its shape."""
        plain = isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward
        try:
            _refuse_hooks([module] if plain or type(module) is Graph else module.modules())
            if plain:
                return self.chain(module, path, sources, shape)
            if type(module) is Graph:
                return self.branches(module, path, sources, shape)
            return self.layer(module, path or "layer", sources, shape)
        except Refused as why:
            self.report.rows.append(Row(path, type(module).__name__, "-", REFUSED, str(why)))
            return sources, None

    def chain(self, module: nn.Module, path: str, sources: Sources, shape: Shape | None) -> End:
        self.called(module, path)
        for name, child in module.named_children():
            sources, shape = self.module(child, _join(path, name), sources, shape)
        return sources, shape

    def called(self, module: nn.Module, path: str) -> None:
        """Note what the nodes on the way back to neurons are called."""
        ways = module.paths if isinstance(module, Imported) else {}
        self.ways |= {_join(path, name): _join(path, way) for name, way in ways.items()}

    def branches(self, graph: Graph, path: str, sources: Sources, shape: Shape | None) -> End:
        self.called(graph, path)
        given: dict[str, End] = {INPUT: (sources, shape)}
        for name, child in [*graph.named_children(), (OUTPUT, None)]:
            read = [given[source] for source in graph.sources[name]]
            sources = [source for these, _ in read for source in these]
            shape = next((shape for _, shape in read if shape is not None), None)
            given[name] = (sources, shape) if child is None else self.module(child, _join(path, name), sources, shape)
        return given[OUTPUT]

    def layer(self, module: nn.Module, path: str, sources: Sources, shape: Shape | None) -> End:
        """Write one layer, as one node or two."""
        name, kind = path.replace(".", "_"), type(module).__name__
        if isinstance(module, (Neuron, EachPlace)):
            return self.neuron(module, path, name, sources, shape)
        if type(module) is Feedback:
            return self.feedback(module, path, name, sources, shape)
        if isinstance(module, IDLE):
            if module.training and not isinstance(module, nn.Identity):
                raise Refused("NIR drops nothing out: call model.eval() before")
            self.report.rows.append(Row(path, kind, "nothing", EXACT))
            return sources, shape
        if type(module) not in STATELESS:
            raise Refused("no node of NIR does what it does; tt.to_nir reads nn.Sequential, what tt.from_nir makes, "
                          f"and {', '.join(sorted({cls.__name__ for cls in STATELESS}))}")
        said_by, takes = STATELESS[type(module)]
        shape = shape or self.began(takes(module), sources)
        given = after(module, shape)
        node = said_by(self.nir, module, shape)
        miscounted = any(own is not None and own != true for own, true in (
            (shape_of(node.input_type, "input"), shape), (shape_of(node.output_type, "output"), given)))
        self.counted = self.counted and not miscounted
        note = "nir counts its shape wrongly: nir.read needs type_check=False" if miscounted else ""
        if isinstance(module, Threshold) and not np.array_equal(node.threshold, _array(module.threshold)):
            note = REACHED
        self.report.rows.append(Row(path, kind, type(node).__name__, EXACT, note))
        return self.join(sources, name, node), given

    def neuron(self, module: Neuron | EachPlace, path: str, name: str, sources: Sources,
               shape: Shape | None) -> tuple[Sources, Shape]:
        layer = module.neuron if isinstance(module, EachPlace) else module
        found = said(layer, self.clock)
        shape = shape or self.began((layer.num_neurons,) if layer.dim == -1 and module is layer else None, sources)
        nodes = {f"{name}_syn": ("LI", found.before)} if found.before else {}
        nodes[name] = (found.kind, found.values)
        for each, (kind, values) in nodes.items():
            laid = {key: _laid_out(value, layer, shape, module is not layer) for key, value in values.items()}
            sources = self.join(sources, each, getattr(self.nir, kind)(**laid))
        becomes = ", ".join(kind for kind, _ in nodes.values())
        self.report.rows.append(Row(path, type(layer).__name__, becomes, found.verdict, "; ".join(found.notes)))
        return sources, shape

    def feedback(self, module: Feedback, path: str, name: str, sources: Sources, shape: Shape | None) -> End:
        """Write a neuron that reads itself through a matrix, as a cycle."""
        if type(module.path) not in (nn.Linear, Linear):
            raise Refused(f"its path is {type(module.path).__name__}; here a cycle of NIR goes through one nn.Linear")
        if not isinstance(module.neuron, Neuron):
            raise Refused(f"its neuron, {type(module.neuron).__name__}, has a forward of its own")
        way = self.ways.get(path, f"{path}.path").replace(".", "_")
        given, shape = self.neuron(module.neuron, path, name, [*sources, way], shape)
        node = STATELESS[type(module.path)][0](self.nir, module.path, shape)
        self.join(given, way, node)
        self.report.rows.append(Row(f"{path}.path", type(module.path).__name__, type(node).__name__, EXACT,
                                    "a step later"))
        return given, shape

    def began(self, shape: Shape | None, sources: Sources) -> Shape:
        """Return the shape of the model's input, which its first layer says."""
        if shape is None:
            raise Refused("the shape of its input is not known: pass input_shape=, the shape of one step without the "
                          "batch")
        self.shape = shape if INPUT in sources else self.shape
        return shape


def _refuse_hooks(modules: Iterable[nn.Module]) -> None:
    """Raise Refused for a module with forward hooks, but for those of torch.nn.utils that compute a parameter."""
    for module in modules:
        pre = [h for h in module._forward_pre_hooks.values() if computed_by(h) is None]
        if module._forward_hooks or pre:
            raise Refused("it has forward hooks, and what they do is not known: take them away before")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _laid_out(value: Tensor, layer: Neuron, shape: Shape, places: bool) -> np.ndarray:
    """Return a parameter with one value for each element of a step."""
    if places:
        return np.ascontiguousarray(value.expand(layer.num_neurons).reshape(shape).numpy())
    axis = layer._axis(len(shape) + 1) - 1
    if axis < 0 or shape[axis] != layer.num_neurons:
        raise Refused(f"its {layer.num_neurons} neurons lie along dim={layer.dim}, and a step has shape {list(shape)}")
    along = [1] * len(shape)
    along[axis] = -1
    return np.ascontiguousarray(value.expand(layer.num_neurons).reshape(along).expand(shape).numpy())     # [*shape]


def _array(value: Tensor) -> np.ndarray:
    return value.detach().cpu().numpy().copy()


def _weights(nir: Any, module: nn.Linear, shape: Shape) -> Any:
    if len(shape) != 1:
        raise Refused(f"NIR's Linear and Affine take one dimension, and a step has shape {list(shape)}")
    if module.bias is None:
        return nir.Linear(weight=_array(module.weight))
    return nir.Affine(weight=_array(module.weight), bias=_array(module.bias))


def _convolution(nir: Any, module: nn.Conv1d | nn.Conv2d, shape: Shape) -> Any:
    if module.padding_mode != "zeros":
        raise Refused(f"NIR pads with zeros, not padding_mode={module.padding_mode!r}")
    flat = isinstance(module, nn.Conv1d)
    bias = torch.zeros(module.out_channels) if module.bias is None else module.bias
    how = {name: value if isinstance(value, str) else int(value[0]) if flat else tuple(map(int, value))
           for name, value in (("stride", module.stride), ("padding", module.padding), ("dilation", module.dilation))}
    return (nir.Conv1d if flat else nir.Conv2d)(
        input_shape=shape[1] if flat else tuple(shape[1:]), weight=_array(module.weight), bias=_array(bias),
        groups=module.groups, **how)


def _flatten(nir: Any, module: nn.Flatten, shape: Shape) -> Any:
    start, end = module.start_dim % (len(shape) + 1), module.end_dim % (len(shape) + 1)
    if start == 0:
        raise Refused("it flattens the batch as well: start at dimension 1")
    return nir.Flatten(input_type={"input": np.array(shape)}, start_dim=start - 1, end_dim=end - 1)


def _average(nir: Any, module: nn.AvgPool2d, shape: Shape) -> Any:
    padded = any(sizes(module.padding, 2))
    for name, refused in (("ceil_mode", module.ceil_mode), ("divisor_override", module.divisor_override),
                          ("count_include_pad=False", padded and not module.count_include_pad)):
        if refused:
            raise Refused(f"NIR's AvgPool2d has no {name}")
    return nir.AvgPool2d(**_windows(module))


def _sum(nir: Any, module: SumPool2d, shape: Shape) -> Any:
    return nir.SumPool2d(**_windows(module))


def _windows(module: Any) -> dict[str, np.ndarray]:
    return {name: np.array(sizes(getattr(module, name), 2)) for name in ("kernel_size", "stride", "padding")}


def _scale(nir: Any, module: Scale, shape: Shape) -> Any:
    return nir.Scale(scale=_array(module.scale))


def _threshold(nir: Any, module: Threshold, shape: Shape) -> Any:
    reached = reaches(module.spike_fn, module.threshold)
    return nir.Threshold(threshold=_array(below(module.threshold) if reached else module.threshold))


def _nothing(module: Any) -> Shape | None:
    return None


def _features(module: Any) -> Shape | None:
    return (module.in_features,)


def _own(module: Any) -> Shape | None:
    return tuple(next(module.parameters()).shape)


STATELESS: dict[type[nn.Module], tuple[Callable[..., Any], Callable[[Any], Shape | None]]] = {
    nn.Linear: (_weights, _features), Linear: (_weights, _features),
    nn.Conv1d: (_convolution, _nothing), nn.Conv2d: (_convolution, _nothing), nn.Flatten: (_flatten, _nothing),
    nn.AvgPool2d: (_average, _nothing), SumPool2d: (_sum, _nothing), Scale: (_scale, _own),
    Threshold: (_threshold, _own),
}
"""Modules without a state: what writes each, and the shape that it says it takes."""
