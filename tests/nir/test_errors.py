"""What NIR or this library can't say is refused by name, with the reason and the way out."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

import tracetorch as tt
from tests.support.messages import fails
from tracetorch.nir.modules import Threshold
from tracetorch.nir.stages import InputGain, Resistance, Synapse

nir = pytest.importorskip("nir", reason="nir is an optional extra")
DT, ONE = 1e-3, np.ones(2)
HARD = dict(spike_fn=tt.functional.heavi_erfc(1.0))


def graph(node=None, nodes=None, edges=None, shape=(2,)):
    """A graph of one node, or of the given nodes and edges; nothing is checked by nir itself."""
    ends = {"input": nir.Input({"input": np.array(shape)}), "output": nir.Output({"output": np.array(shape)})}
    edges = edges or [("input", "node"), ("node", "output")]
    return nir.NIRGraph(ends | (nodes or {"node": node}), edges, type_check=False)


def li(**given):
    return nir.LI(**{"tau": ONE * 0.01, "r": ONE, "v_leak": ONE * 0} | given)


def odd(name):
    """A node of a type that a later version of nir may have."""
    return type(name, (nir.Scale,), {})(ONE)


NODES = {
    "delay": (nir.Delay(ONE), ["node 'node' (Delay)", "a delay"]),
    "unknown": (odd("Resonate"), ["node 'node' (Resonate)", "no node of this type is known"]),
    "nothing, as some exporters leave": (None, ["node 'node' (NoneType)", "no node of this type is known"]),
    "slow step": (li(tau=ONE * 5e-4), ["node 'node' (LI)", "tau=0.0005 is no longer than one step, dt=0.001",
                                       "method='exact'"]),
    "step as long as tau": (li(tau=ONE * 1e-3), ["tau=0.001 is no longer"]),
    "negative tau": (li(tau=-ONE), ["tau must be finite and greater than 0, got -1"]),
    "infinite tau": (li(tau=ONE * np.inf), ["tau must be finite and greater than 0, got inf"]),
    "huge tau": (li(tau=ONE * 1e9), ["can't be told from 0 or 1 in float32", "torch.float64"]),
    "synaptic tau": (nir.CubaLI(tau_syn=ONE * 0, tau_mem=ONE, r=ONE, v_leak=ONE), ["(CubaLI)", "tau_syn must be"]),
    "not a number": (li(v_leak=ONE * np.nan), ["v_leak must be a finite number, got nan"]),
    "three neurons": (nir.I(np.ones(3)), ["node 'node' (I)", "r has shape [3], and its input [2]"]),
    "deep weight": (nir.Linear(np.ones((2, 2, 2))), ["(Linear)", "its weight has shape [2, 2, 2]"]),
    "wide weight": (nir.Linear(np.ones((2, 3))), ["takes an input of shape [3], and gets [2]"]),
    "long bias": (nir.Affine(np.ones((2, 2)), np.ones(3)), ["its bias has shape [3], allowed is [2]"]),
    "scale": (nir.Scale(np.ones(3)), ["(Scale)", "takes an input of shape [3], and gets [2]"]),
    "pool of a vector": (nir.SumPool2d(ONE, ONE, ONE * 0),
                         ["(SumPool2d)", "takes steps of 3 dimensions, channels first, and gets [2]"]),
    "convolution of a vector": (nir.Conv1d(None, np.ones((1, 1, 1)), 1, 0, 1, 1, np.ones(1)),
                                ["(Conv1d)", "takes steps of 2 dimensions, channels first, and gets [2]"]),
    "flat kernel": (nir.Conv2d(None, np.ones((1, 1, 1)), 1, 0, 1, 1, np.ones(1)),
                    ["(Conv2d)", "its weight has shape [1, 1, 1]; 4 dimensions"]),
    "same, in strides": (nir.Conv1d(None, np.ones((1, 1, 1)), 2, "same", 1, 1, np.ones(1)),
                         ["(Conv1d)", "padding='same' is not supported for strided"]),
}


@pytest.mark.parametrize("case", NODES)
def test_node_is_refused(case):
    node, says = NODES[case]
    with fails(ValueError, "tt.from_nir: ", *says):
        tt.from_nir(graph(node), DT)
    (row,) = tt.nir_report(graph(node), DT).refused
    assert row.verdict == "refused" and row.note


def test_every_refused_node_is_named():
    nodes = {"one": nir.Delay(ONE), "two": li(), "three": li(tau=-ONE)}
    with fails(ValueError, "node 'one' (Delay)", "; node 'three' (LI)"):
        tt.from_nir(graph(nodes=nodes, edges=[("input", "one"), ("one", "two"), ("two", "three"),
                                              ("three", "output")]), DT)


def test_neurons_without_number():
    node = nir.LI(*[np.array(1.0)] * 3)
    with fails(ValueError, "node 'node' (LI)", "how many neurons are there?"):
        tt.from_nir(graph(node, shape=()), DT)


A = {"a": nir.Linear(np.eye(2)), "b": nir.Linear(np.eye(2))}
EDGES = {
    "nothing in": ([("b", "output"), ("input", "output"), ("a", "b")], ["node 'a' (Linear): no edge leads into it"]),
    "itself alone": ([("input", "a"), ("a", "output"), ("a", "n"), ("n", "b"), ("b", "n")],
                     ["node 'n' (LI): no edge leads out of it"]),
    "nothing out": ([("input", "a"), ("input", "b"), ("a", "output")], ["node 'b' (Linear): no edge leads out of it"]),
    "no output": ([("input", "a"), ("a", "b"), ("b", "a")], ["no edge leads to the Output"]),
    "twice": ([("input", "a"), ("input", "a"), ("a", "b"), ("b", "output")],
              ["the edge ('input', 'a') is there 2 times", "Scale"]),
    "unknown": ([("input", "a"), ("a", "c"), ("b", "output")], ["('a', 'c') names 'c', which is no node"]),
    "into the input": ([("input", "a"), ("a", "b"), ("b", "output"), ("a", "input")], ["leads into the Input or"]),
    "out of the output": ([("input", "a"), ("a", "output"), ("output", "b"), ("b", "a")], ["leads into the Input or"]),
    "circle": ([("input", "a"), ("a", "b"), ("b", "a"), ("b", "output")],
               ["(Linear): it lies on the cycle", "a (Linear) -> ", "b (Linear) -> "]),
}


@pytest.mark.parametrize("case", EDGES)
def test_edges_are_refused(case):
    edges, says = EDGES[case]
    with fails(ValueError, "tt.from_nir: ", *says):
        tt.from_nir(graph(nodes=A | ({"n": li()} if case == "itself alone" else {}), edges=edges), DT)


def test_two_inputs_and_sums_of_unequal_shapes():
    two = graph(nodes=A | {"more": nir.Input({"input": np.array([2])})},
                edges=[("input", "a"), ("more", "a"), ("a", "b"), ("b", "output")])
    with fails(ValueError, "2 nodes of type Input ('input', 'more')", "takes one tensor"):
        tt.from_nir(two, DT)
    unequal = graph(nodes={"a": nir.Linear(np.ones((3, 2))), "b": nir.Linear(np.eye(2))},
                    edges=[("input", "a"), ("input", "b"), ("a", "output"), ("b", "output")])
    with fails(ValueError, "'output' sums what its edges bring", "'a' gives [3], 'b' gives [2]"):
        tt.from_nir(unequal, DT)


@pytest.mark.parametrize("verb", ["from_nir", "to_nir"])
@pytest.mark.parametrize(("how", "says"), [
    (dict(dt=0), "dt=0 is no length of a step"), (dict(dt=-1e-3), "dt=-0.001"), (dict(dt=float("nan")), "dt=nan"),
    (dict(dt="1ms"), "dt='1ms'"),
    (dict(dt=DT, method="heun"), "method='heun' is not known, allowed are 'euler', 'exact'"),
])
def test_time_is_refused(verb, how, says):
    given = graph(li()) if verb == "from_nir" else nn.Sequential(tt.snn.LI(2))
    with fails(ValueError, f"tt.{verb}: {says}"):
        getattr(tt, verb)(given, **how)


def test_what_is_no_graph_and_no_module():
    with fails(TypeError, "tt.from_nir: expected a nir.NIRGraph or the path of a file, got Linear"):
        tt.from_nir(nn.Linear(2, 2), DT)
    with fails(TypeError, "tt.to_nir: expected a torch.nn.Module, got NIRGraph"):
        tt.to_nir(graph(li()), DT)


def test_package_that_is_not_there(monkeypatch):
    made = graph(li())
    monkeypatch.setitem(sys.modules, "nir", None)
    for call in (lambda: tt.from_nir("a.nir", DT), lambda: tt.to_nir(nn.Sequential(tt.snn.LI(2)), DT)):
        with fails(ImportError, "needs the package nir: pip install tracetorch[nir]"):
            call()
    assert tt.from_nir(made, DT) is not None        # a graph that is there needs no package


class Quiet(tt.Stage):
    """Halve the input."""

    place = "input"

    def step(self, s):
        s.x = s.x / 2


def neuron(*stages, n=2, **how):
    return tt.compose(tt.EMA, *stages)(n, **how)


def hooked(layer):
    layer.register_forward_hook(lambda module, inputs, y: 2 * y)
    return layer


def thresholds(spike_fn):
    layer = Threshold(torch.ones(2))
    layer.spike_fn = spike_fn
    return layer


def own_forward():
    layer = tt.snn.LI(2)
    layer.forward = lambda x: x
    return layer


ZERO = (tt.Binary, tt.Reset("zero"))
LAYERS = {
    "subtract": (neuron(tt.Binary, **HARD), ["(LIEMAB)", "Reset(detach=False, mode='subtract') subtracts the threshold",
                                             "tt.Reset('zero')"]),
    "none": (neuron(tt.Binary, tt.Reset("none"), **HARD), ["leaves the membrane alone"]),
    "smooth": (neuron(tt.Binary, tt.Reset("zero", detach=False)),
               ["its spikes are not 0 below the threshold and 1 above", "tt.functional.heavi_erfc(1.0)"]),
    "random": (neuron(*ZERO, spike_fn=tt.functional.circ_dist(0.5)), ["its spikes are not 0 below"]),
    "coarse": (neuron(*ZERO, quant_fn=tt.functional.round_ste(0.25)), ["its spikes are not 0 below"]),
    "ternary": (neuron(tt.Ternary, tt.Reset("zero"), **HARD), ["tt.Ternary: NIR's neurons fire upwards only"]),
    "dual": (tt.snn.DLI(2), ["(DLI)", "tt.Dual: NIR's neurons have one trace for both signs"]),
    "adaptive": (neuron(tt.Adaptive, *ZERO, **HARD), ["tt.Adaptive: NIR's threshold stays where it is"]),
    "relative": (neuron(tt.RelativeRefractory, *ZERO, **HARD), ["tt.RelativeRefractory: NIR's threshold"]),
    "refractory": (neuron(tt.Refractory, *ZERO, **HARD), ["tt.Refractory: NIR's neurons have no refractory period"]),
    "recurrent": (neuron(tt.Recurrent, *ZERO, **HARD), ["tt.Recurrent: NIR has no trace", "a cycle of the graph"]),
    "scaled": (neuron(tt.Scaled, *ZERO, **HARD), ["tt.Scaled: NIR's spikes are 1"]),
    "a user's": (neuron(Quiet), ["no node of NIR has the stage Quiet"]),
    "own forward": (own_forward(), ["(LI)", "a forward or a step of its own"]),
    "two inputs": (neuron(tt.Synaptic, Resistance), ["Synaptic and Resistance one after another"]),
    "leaking sum": (tt.compose(tt.Integrator, Resistance)(2), ["NIR's I and IF have no v_leak"]),
    "other method": (neuron(Synapse("exact")), ["was made for method='exact'", "pass that to tt.to_nir"]),
    "hooks": (hooked(tt.snn.LI(2)), ["(LI)", "it has forward hooks"]),
    "hooks of a matrix": (hooked(nn.Linear(2, 2)), ["(Linear)", "it has forward hooks"]),
    "hooks of a chain": (hooked(nn.Sequential(nn.Linear(2, 2))), ["(Sequential)", "it has forward hooks"]),
    "half a spike": (neuron(*ZERO, spike_fn=lambda v: (v > 0) + 0.5 * (v == 0)), ["its spikes are not 0 below"]),
    "smooth threshold": (thresholds(torch.sigmoid), ["(Threshold)", "its spikes are not 0 below"]),
    "norm": (nn.LayerNorm(2), ["(LayerNorm)", "no node of NIR does what it does", "AvgPool2d, Conv1d, Conv2d"]),
    "dropout": (nn.Dropout(), ["(Dropout)", "call model.eval() before"]),
    "wrong width": (nn.Linear(3, 2), ["(Linear)", "an input of shape [2] does not fit"]),
    "more neurons": (tt.snn.LI(3), ["(LI)", "its 3 neurons lie along dim=-1, and a step has shape [2]"]),
    "along the batch": (tt.snn.LI(2, dim=0), ["its 2 neurons lie along dim=0"]),
}


@pytest.mark.parametrize("case", LAYERS)
def test_layer_is_refused(case):
    layer, says = LAYERS[case]
    with fails(ValueError, "tt.to_nir: layer '0' ", *says):
        tt.to_nir(nn.Sequential(layer), DT, input_shape=(2,))
    assert len(tt.nir_report(nn.Sequential(layer), DT, input_shape=(2,)).refused) == 1


def test_several_spikes_in_one_step_are_refused():
    layer = neuron(*ZERO, spike_fn=tt.functional.heavi_erfc(1.0), quant_fn=lambda v: 2 * v)
    with fails(ValueError, "its spikes are not 0 below the threshold and 1 above"):
        tt.to_nir(nn.Sequential(layer), DT)


IMAGES = {
    "reflected": (nn.Conv2d(2, 2, 3, padding_mode="reflect"), ["pads with zeros, not padding_mode='reflect'"]),
    "uncounted": (nn.AvgPool2d(2, padding=1, count_include_pad=False), ["AvgPool2d has no count_include_pad=False"]),
    "ceil": (nn.AvgPool2d(2, ceil_mode=True), ["AvgPool2d has no ceil_mode"]),
    "divisor": (nn.AvgPool2d(2, divisor_override=3), ["AvgPool2d has no divisor_override"]),
    "batch": (nn.Flatten(0), ["it flattens the batch as well"]),
    "linear": (nn.Linear(5, 5), ["take one dimension, and a step has shape [2, 4, 5]"]),
    "one dimension": (nn.Conv1d(2, 2, 3), ["(Conv1d)", "takes steps of 2 dimensions", "gets [2, 4, 5]"]),
}


@pytest.mark.parametrize("case", IMAGES)
def test_layer_of_images_is_refused(case):
    layer, says = IMAGES[case]
    with fails(ValueError, "tt.to_nir: layer '0' ", *says):
        tt.to_nir(nn.Sequential(layer), DT, input_shape=(2, 4, 5))


def test_every_refused_layer_is_named():
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(tt.snn.DLI(2), nn.LayerNorm(2)), tt.snn.LIT(2))
    with fails(ValueError, "layer '1.0' (DLI)", "; layer '1.1' (LayerNorm)", "; layer '2' (LIT)"):
        tt.to_nir(model, DT)


def test_shape_that_is_not_known():
    with fails(ValueError, "layer '0' (Conv2d): the shape of its input is not known: pass input_shape="):
        tt.to_nir(nn.Sequential(nn.Conv2d(2, 3, 3), tt.snn.LI(3, dim=-3)), DT)
    with fails(ValueError, "tt.to_nir: the model has no layer that says a shape; pass input_shape="):
        tt.to_nir(nn.Sequential(nn.Identity()), DT)


def test_two_nodes_of_one_name():
    layers = nn.Sequential()
    layers.add_module("a_b", nn.Linear(2, 2))
    layers.add_module("a", nn.Sequential())
    layers.a.add_module("b", nn.Linear(2, 2))
    with fails(ValueError, "two nodes would be called 'a_b'", "rename"):
        tt.to_nir(layers, DT)


def test_model_with_a_forward_of_its_own():
    class Mine(nn.Module):
        def forward(self, x):
            return x

    with fails(ValueError, "layer '' (Mine)", "tt.to_nir reads nn.Sequential, what tt.from_nir makes"):
        tt.to_nir(Mine(), DT)


def test_gain_without_a_leak_is_said():
    """The stages of imported neurons go with the other membranes too."""
    cls = tt.compose(InputGain, tt.Leaky, name="Gained")
    made = tt.to_nir(nn.Sequential(cls(1, gain=3.0, beta=0.9, dtype=torch.float64)), DT)
    np.testing.assert_allclose(made.nodes["0"].r, [30], rtol=1e-12)
