"""Hypothesis strategies: NIR graphs, and models that NIR can say, made at random."""

import numpy as np
import torch
from hypothesis import strategies as st
from torch import nn

import tracetorch as tt

DT = 1e-3
RANGES = {
    "tau": (2e-3, 5e-2), "tau_mem": (2e-3, 5e-2), "tau_syn": (2e-3, 5e-2), "w_in": (-2, 2), "r": (-1, 3),
    "v_leak": (-1, 1), "v_threshold": (-0.5, 1), "v_reset": (-1, 0.5),
}
NEURONS = {
    "LI": ("tau", "r", "v_leak"), "I": ("r",), "CubaLI": ("tau_mem", "tau_syn", "w_in", "r", "v_leak"),
    "LIF": ("tau", "r", "v_leak", "v_threshold", "v_reset"), "IF": ("r", "v_threshold", "v_reset"),
    "CubaLIF": ("tau_mem", "tau_syn", "w_in", "r", "v_leak", "v_threshold", "v_reset"),
}


class Made:
    """Nodes of a graph as they are added, each with the shape that it gives."""

    def __init__(self, nir, seed):
        self.nir, self.draw = nir, np.random.default_rng(seed)
        self.nodes, self.edges, self.shapes = {}, [], {}

    def add(self, node, sources, shape):
        name = "input" if not self.nodes else f"{type(node).__name__.lower()}_{len(self.nodes)}"
        self.nodes[name], self.shapes[name] = node, tuple(map(int, shape))
        self.edges += [(source, name) for source in sources]
        return name

    def neuron(self, kind, shape, plain):
        """A neuron with values for each element, or for each channel; `plain` ones as other libraries write them."""
        def value(name):
            usual = {"r": 1, "v_leak": 0, "w_in": 1, "v_reset": 0, "v_threshold": 0.5}
            if plain and name in usual:
                return np.full(shape, float(usual[name]))
            size = shape if self.draw.random() < 0.5 else (shape[0], *[1] * (len(shape) - 1))
            return np.broadcast_to(self.draw.uniform(*RANGES[name], size), shape).copy()
        return getattr(self.nir, kind)(**{name: value(name) for name in NEURONS[kind]})

    def layer(self, kind, sources, plain):
        """Add a node of a kind that fits the shape of its source."""
        nir, draw, shape = self.nir, self.draw, self.shapes[sources[0]]
        if kind in NEURONS:
            return self.add(self.neuron(kind, shape, plain), sources, shape)
        if kind in ("Linear", "Affine"):
            weight, bias = draw.normal(size=(3, *shape)), draw.normal(size=3)
            return self.add(nir.Linear(weight) if kind == "Linear" else nir.Affine(weight, bias), sources, (3,))
        if kind == "Scale":
            return self.add(nir.Scale(draw.normal(size=shape)), sources, shape)
        if kind == "Threshold":
            return self.add(nir.Threshold(draw.normal(size=shape)), sources, shape)
        if kind == "Flatten":
            return self.add(nir.Flatten({"input": np.array(shape)}, 0, -1), sources, (np.prod(shape),))
        if kind == "Conv1d":
            node = nir.Conv1d(shape[1], draw.normal(size=(2, shape[0], 3)), 1, "same", 1, 1, draw.normal(size=2))
            return self.add(node, sources, (2, shape[1]))
        if kind == "Conv2d":
            weight = draw.normal(size=(2, shape[0], 3, 3))
            node = nir.Conv2d(shape[1:], weight, (1, 1), (1, 1), 1, 1, draw.normal(size=2))
            return self.add(node, sources, (2, *shape[1:]))
        windows = dict(kernel_size=np.array([2, 2]), stride=np.array([1, 2]), padding=np.array([1, 1]))
        return self.add(getattr(nir, kind)(**windows), sources, (shape[0], shape[1] + 1, shape[2] // 2 + 1))

    def feedback(self, neuron):
        """Lead the output of a neuron back to itself, through a matrix."""
        weight = self.draw.normal(size=self.shapes[neuron] * 2)
        path = self.add(self.nir.Affine(weight, weight[0]) if weight[0, 0] > 0 else self.nir.Linear(weight), [neuron],
                        self.shapes[neuron])
        self.edges.append((path, neuron))

    def graph(self, last):
        """Return the graph whose output is the sum of some nodes."""
        self.nodes["output"] = self.nir.Output({"output": np.array(self.shapes[last[0]])})
        self.edges += [(name, "output") for name in last]
        return self.nir.NIRGraph(self.nodes, self.edges)


STARTS = {(3,): ("Linear", "Affine", "Scale", "Threshold"), (2, 6): ("Conv1d", "Scale", "Flatten"),
          (2, 4, 5): ("Conv2d", "SumPool2d", "AvgPool2d", "Flatten", "Threshold")}


@st.composite
def graphs(draw, nir):
    """A chain of up to six nodes, with a branch around some of them; some neurons hear themselves."""
    made = Made(nir, draw(st.integers(0, 2**32)))
    shape = draw(st.sampled_from(list(STARTS)))
    sources = [made.add(nir.Input({"input": np.array(shape)}), [], shape)]
    for _ in range(draw(st.integers(1, 6))):
        dims = len(made.shapes[sources[0]])
        fitting = next(kinds for start, kinds in STARTS.items() if len(start) == dims)
        kind = draw(st.sampled_from([*NEURONS, *fitting]))
        name = made.layer(kind, sources, plain=draw(st.booleans()))
        if kind in NEURONS and dims == 1 and draw(st.booleans()):
            made.feedback(name)
        same = [s for s in sources if made.shapes[s] == made.shapes[name]]
        sources = [name, *same] if len(same) == len(sources) and draw(st.booleans()) else [name]
    return made.graph(sources)


MEMBRANES = {"leaky": (tt.Leaky,), "ema": (tt.EMA,), "integrator": (tt.Integrator,), "synaptic": (tt.Synaptic,),
             "synaptic ema": (tt.Synaptic, tt.EMA), "current": (tt.Current,),
             "synaptic integrator": (tt.Synaptic, tt.Integrator)}
FIRING = {"integrates": (), "zero": (tt.Binary, tt.Reset("zero")),
          "value": (tt.Binary(biased=False), tt.Reset(to=-0.3)),
          "gradient": (tt.Binary, tt.Reset("zero", detach=False))}
SPIKES = (dict(spike_fn=tt.functional.heavi_erfc(1.0)), dict(spike_fn=tt.functional.Arctan(2.0)),
          dict(quant_fn=tt.functional.round_ste()))


def neurons(n, membrane, firing, spikes, shapes=((),)):
    """A layer in float64, its parameters random, one after another of one of the shapes."""
    cls = tt.compose(*MEMBRANES[membrane], *FIRING[firing])
    how = {} if firing == "integrates" else spikes
    for i, (name, declared) in enumerate(cls.pipeline.parameters.items()):
        low, high = (0.2, 0.95) if isinstance(declared, tt.Decay) else (0.1, 0.4)
        value = low + (high - low) * torch.rand(shapes[i % len(shapes)], dtype=torch.float64)
        how = how | {name: value}
    return cls(n, dtype=torch.float64, **how)


@st.composite
def models(draw):
    """Up to three layers of neurons between weights, in float64."""
    torch.manual_seed(draw(st.integers(0, 2**32)))
    sizes, layers = [3, 4, 3, 2], []
    for i in range(draw(st.integers(1, 3))):
        n = sizes[i + 1]
        layer = neurons(n, draw(st.sampled_from(list(MEMBRANES))), draw(st.sampled_from(list(FIRING))),
                        draw(st.sampled_from(SPIKES)), [(n,) if draw(st.booleans()) else () for _ in range(3)])
        layers += [nn.Linear(sizes[i], n, bias=draw(st.booleans()), dtype=torch.float64), layer]
    return nn.Sequential(*layers)
