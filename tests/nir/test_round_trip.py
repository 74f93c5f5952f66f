"""There and back: a graph comes out of its module as it went in, a model out of its graph with the same numbers."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import tracetorch as tt
from tests.support.strategies import PROPERTY

nir = pytest.importorskip("nir", reason="nir is an optional extra")
from tests.support.nir_graphs import DT, FIRING, MEMBRANES, SPIKES, graphs, models, neurons  # noqa: E402

METHODS = st.sampled_from(["euler", "exact"])


def scanned(module, x):
    """Scan with states at their start; in eager, since every example is another composition."""
    tt.zero_states(module)
    with tt.backend("eager"), torch.no_grad():
        return tt.scan(module, x)


def inputs(graph, dtype=torch.float64):
    return torch.rand(8, 2, *map(int, graph.nodes["input"].input_type["input"]), dtype=dtype) * 3


def assert_equal(one, other, rtol=1e-6):
    """The same nodes by name, the same edges, the same parameters."""
    assert set(one.nodes) == set(other.nodes) and set(one.edges) == set(other.edges)
    for name, node in one.nodes.items():
        a, b = node.to_dict(), other.nodes[name].to_dict()
        assert a.keys() == b.keys() and a["type"] == b["type"]
        for key in a.keys() - {"type", "metadata", "start_dim", "end_dim"}:
            if isinstance(a[key], str):
                assert a[key] == b[key]
            else:
                np.testing.assert_allclose(np.broadcast_to(b[key], np.shape(a[key])), a[key], rtol=rtol, atol=1e-12)


@PROPERTY
@given(graphs(nir), METHODS)
def test_graph_to_module_and_back(graph, method):
    model = tt.from_nir(graph, DT, method, dtype=torch.float64)
    back = tt.to_nir(model, DT)
    assert_equal(graph, back)
    again = tt.from_nir(back, DT, method, dtype=torch.float64)
    x = inputs(graph)
    y = scanned(model, x)
    assert y.isfinite().all()
    torch.testing.assert_close(scanned(again, x), y, rtol=1e-9, atol=1e-9)


@PROPERTY
@given(graphs(nir), METHODS)
def test_graph_in_float32(graph, method):
    """What float32 holds of a time constant is enough to tell it to 1e-6."""
    assert_equal(graph, tt.to_nir(tt.from_nir(graph, DT, method, dtype=torch.float32), DT), rtol=1e-6)


@PROPERTY
@given(models(), METHODS)
def test_model_to_graph_and_back(model, method):
    graph = tt.to_nir(model, DT, method)
    x = torch.rand(12, 2, 3, dtype=torch.float64) * 2
    back = tt.from_nir(graph, DT, method, dtype=torch.float64)
    torch.testing.assert_close(scanned(back, x), scanned(model, x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", ["euler", "exact"])
@pytest.mark.parametrize("firing", FIRING)
@pytest.mark.parametrize("membrane", MEMBRANES)
def test_every_neuron_that_nir_can_say(membrane, firing, method):
    x = torch.rand(40, 2, 3, dtype=torch.float64) * (1 if "integrator" in membrane else 3)
    for spikes in SPIKES:
        model = nn.Sequential(neurons(3, membrane, firing, spikes, [(3,), ()]))
        y = scanned(model, x)
        assert y.any()
        back = tt.from_nir(tt.to_nir(model, DT, method), DT, method, dtype=torch.float64)
        torch.testing.assert_close(scanned(back, x), y, rtol=1e-9, atol=1e-9)


@PROPERTY
@given(graph=graphs(nir))
def test_file_survives(graph, tmp_path):
    nir.write(tmp_path / "graph.nir", graph)
    model = tt.from_nir(tmp_path / "graph.nir", DT, dtype=torch.float64)
    x = inputs(graph)
    assert torch.equal(scanned(model, x), scanned(tt.from_nir(graph, DT, dtype=torch.float64), x))
    nir.write(tmp_path / "back.nir", tt.to_nir(model, DT))
    assert_equal(graph, nir.read(tmp_path / "back.nir"))
    assert_equal(graph, nir.read(str(tmp_path / "back.nir")))
