"""Chains, branches, graphs in graphs, names and shapes: what becomes of the edges of a NIR graph."""

import copy
import pickle

import numpy as np
import pytest
import torch
import torch.nn.utils.prune
from torch import nn

import tracetorch as tt
from tests.support.nir_equations import integrate
from tests.support.rounding import assert_as_right, nearby, output

nir = pytest.importorskip("nir", reason="nir is an optional extra")
DT = 1e-3
W = np.array([[1.0, 2.0], [-1.0, 0.5]])
TAU = {"tau": np.full(2, 1e-2), "r": np.full(2, 2.0), "v_leak": np.zeros(2)}
LIF = TAU | {"v_threshold": np.full(2, 0.3), "v_reset": np.zeros(2)}


def graph(nodes, edges, shape=(2,), out=(2,), **how):
    ends = {"input": nir.Input({"input": np.array(shape)}), "output": nir.Output({"output": np.array(out)})}
    return nir.NIRGraph(nodes=ends | nodes, edges=edges, **how)


def scanned(model, x):
    return tt.scan(model, torch.from_numpy(x)).detach().numpy()


X = np.random.default_rng(0).uniform(-1, 2, (30, 2, 2))


def test_chain_is_sequential_and_keeps_the_names():
    model = tt.from_nir(graph({"b": nir.LIF(**LIF), "a": nir.Linear(W)},
                              [("b", "output"), ("input", "a"), ("a", "b")]), DT, dtype=torch.float64)
    assert isinstance(model, nn.Sequential) and [name for name, _ in model.named_children()] == ["a", "b"]
    np.testing.assert_array_equal(scanned(model, X), integrate("LIF", LIF, X @ W.T, DT, "euler")[0])


def test_branches_are_summed():
    nodes = {"a": nir.Linear(W), "n": nir.LI(**TAU), "s": nir.Scale(np.array([2.0, 3.0]))}
    edges = [("input", "a"), ("a", "n"), ("input", "s"), ("s", "n"), ("n", "output"), ("a", "output")]
    model = tt.from_nir(graph(nodes, edges), DT, "exact", dtype=torch.float64)
    assert not isinstance(model, nn.Sequential) and {name for name, _ in model.named_children()} == set(nodes)
    weighted = X @ W.T
    want = integrate("LI", TAU, weighted + X * [2, 3], DT, "exact")[0] + weighted
    np.testing.assert_allclose(scanned(model, X), want, rtol=1e-12)
    assert "n <- a + s" in repr(model) and "output <- n + a" in repr(model)


def test_fan_out_of_spikes():
    nodes = {"n": nir.LIF(**LIF), "a": nir.Linear(W), "b": nir.Linear(2 * W)}
    edges = [("input", "n"), ("n", "a"), ("n", "b"), ("a", "output"), ("b", "output")]
    got = scanned(tt.from_nir(graph(nodes, edges), DT, dtype=torch.float64), X)
    np.testing.assert_allclose(got, integrate("LIF", LIF, X, DT, "euler")[0] @ (3 * W).T, rtol=1e-12)


def test_graph_within_a_graph():
    inner = graph({"a": nir.Linear(W), "n": nir.LI(**TAU)}, [("input", "a"), ("a", "n"), ("n", "output")])
    whole = graph({"inner": inner, "s": nir.Scale(np.array([2.0, 3.0]))},
                  [("input", "s"), ("s", "inner"), ("inner", "output")])
    model = tt.from_nir(whole, DT, dtype=torch.float64)
    want = integrate("LI", TAU, (X * [2, 3]) @ W.T, DT, "euler")[0]
    np.testing.assert_allclose(scanned(model, X), want, rtol=1e-12)
    assert [row.name for row in model.report.rows] == ["s", "inner.a", "inner.n"]
    back = tt.to_nir(model, DT)
    assert set(back.nodes) == {"input", "s", "inner_a", "inner_n", "output"}
    np.testing.assert_allclose(scanned(tt.from_nir(back, DT, dtype=torch.float64), X), want, rtol=1e-12)


def test_names_that_no_module_can_have():
    nodes = {"0.lif": nir.LIF(**LIF), "forward": nir.Linear(W), "0_lif": nir.Scale(np.ones(2))}
    model = tt.from_nir(graph(nodes, [("input", "forward"), ("forward", "0.lif"), ("0.lif", "0_lif"),
                                      ("0_lif", "output")]), DT)
    assert [name for name, _ in model.named_children()] == ["forward_", "0_lif", "0_lif_"]


def test_input_without_a_shape():
    whole = graph({"a": nir.Linear(W), "n": nir.LI(**TAU)}, [("input", "a"), ("a", "n"), ("n", "output")],
                  type_check=False)
    whole.nodes["input"].input_type = {"input": None}
    model = tt.from_nir(whole, DT)
    assert model.input_shape == (2,) and tt.scan(model, torch.rand(3, 1, 2)).shape == (3, 1, 2)


def test_one_value_for_all_neurons():
    one = {name: np.array(value[0]) for name, value in LIF.items()}
    whole = graph({"a": nir.Linear(W), "n": nir.LIF(**one)}, [("input", "a"), ("a", "n"), ("n", "output")],
                  type_check=False)
    model = tt.from_nir(whole, DT, dtype=torch.float64)
    assert model[1].num_neurons == 2 and model[1].raw_beta.ndim == 0
    np.testing.assert_array_equal(scanned(model, X), integrate("LIF", LIF, X @ W.T, DT, "euler")[0])


@pytest.mark.parametrize("varies", [False, True], ids=["per channel", "at every place"])
def test_neurons_of_an_image(varies):
    draw, shape = np.random.default_rng(0), (2, 3, 4)
    tau = draw.uniform(5e-3, 2e-2, shape if varies else (2, 1, 1)) * np.ones(shape)
    node = nir.LI(tau=tau, r=np.full(shape, 2.0), v_leak=np.zeros(shape))
    model = tt.from_nir(nir.NIRGraph.from_list(node), DT, dtype=torch.float64)
    x = draw.normal(size=(10, 2, *shape))
    flat = {"tau": tau.flatten(), "r": np.full(24, 2.0), "v_leak": np.zeros(24)}
    want = integrate("LI", flat, x.reshape(10, 2, 24), DT, "euler")[0].reshape(x.shape)
    np.testing.assert_allclose(scanned(model, x), want, rtol=1e-12)
    assert sum(p.numel() for p in model.parameters()) == (3 * 24 if varies else 3 * 2)
    np.testing.assert_allclose(tt.to_nir(model, DT).nodes["li"].tau, tau, rtol=1e-12)


def test_device_dtype_copies_and_pickles():
    whole = graph({"n": nir.LIF(**LIF)}, [("input", "n"), ("n", "output")])
    model = tt.from_nir(whole, DT, dtype=torch.float64, device="cpu")
    y = scanned(model, X)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        tt.zero_states(twin)
        np.testing.assert_array_equal(scanned(twin, X), y)
        assert str(twin.report) == str(model.report)
    assert tt.from_nir(whole, DT)[0].raw_beta.dtype == torch.get_default_dtype()


def test_nested_sequentials_become_one_chain():
    hard = tt.compose(tt.EMA, tt.Binary, tt.Reset("zero"))(4, spike_fn=tt.functional.heavi_erfc(1.0))
    model = nn.Sequential(nn.Sequential(tt.Linear(3, 4), hard), nn.Identity(), nn.Dropout(), nn.Linear(4, 2)).eval()
    made = tt.to_nir(model, DT)
    assert made.edges == [("input", "0_0"), ("0_0", "0_1"), ("0_1", "3"), ("3", "output")]
    assert [type(node).__name__ for node in made.nodes.values()] == ["Input", "Affine", "LIF", "Affine", "Output"]


def test_decay_and_weight_become_time_constant_and_resistance():
    """By hand: beta 0.9 and dt 1 ms give tau 10 ms under Euler, 1/(1 - 0.9) = 10 times the input."""
    made = tt.to_nir(nn.Sequential(tt.snn.LI(2, beta=0.9, dtype=torch.float64)), 1e-3)
    np.testing.assert_allclose(made.nodes["0"].tau, [1e-2, 1e-2], rtol=1e-12)
    np.testing.assert_allclose(made.nodes["0"].r, [10, 10], rtol=1e-12)
    exact = tt.to_nir(nn.Sequential(tt.snn.LI(2, beta=float(np.exp(-0.1)), dtype=torch.float64)), 1e-3, "exact")
    np.testing.assert_allclose(exact.nodes["0"].tau, [1e-2, 1e-2], rtol=1e-12)
    summed = tt.to_nir(nn.Sequential(tt.compose(tt.Integrator)(2)), 1e-3)
    np.testing.assert_allclose(summed.nodes["0"].r, [1000, 1000])


def test_layer_that_fires_at_its_threshold_keeps_doing_so():
    """1 + 1 reaches a threshold of 2: a spike here, and in the graph, which fires above its threshold."""
    cls = tt.compose(tt.Integrator, tt.Binary(biased=False), tt.Reset("zero"))
    layer = cls(1, threshold=torch.tensor([2.0]).double(), spike_fn=tt.functional.Arctan(2.0, learn_alpha=False))
    ones = torch.ones(6, 1, 1, dtype=torch.float64)
    threshold = layer.threshold.item()
    assert threshold == 2 and tt.scan(layer, ones).flatten().tolist() == [0, 1, 0, 1, 0, 1]
    made = tt.to_nir(nn.Sequential(layer), 0.5)
    assert made.nodes["0"].v_threshold == np.nextafter(2.0, 0)
    assert tt.scan(tt.from_nir(made, 0.5, dtype=torch.float64), ones).flatten().tolist() == [0, 1, 0, 1, 0, 1]


def test_shape_is_given_where_no_layer_says_it():
    conv = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, bias=False), tt.snn.LI(3, dim=-3), nn.Flatten(),
                         nn.Linear(36, 2))
    made = tt.to_nir(conv, DT, input_shape=(2, 3, 4))
    assert made.nodes["1"].tau.shape == (3, 3, 4) and made.nodes["2"].start_dim == 0
    np.testing.assert_array_equal(made.nodes["0"].bias, np.zeros(3))
    x = torch.rand(6, 2, 2, 3, 4)
    back = tt.from_nir(made, DT)
    references = [output(model, lambda v, model=model: tt.scan(model, v), v) for model, v in nearby(conv, x)]
    exact = output(conv.double(), lambda v: tt.scan(conv, v, backend="eager"), x.double())
    assert_as_right(output(back, lambda v: tt.scan(back, v), x), references, exact)


def test_threshold_that_is_reached_in_float32():
    cls = tt.compose(tt.Integrator, tt.Binary(biased=False), tt.Reset("zero"))
    layer = cls(1, threshold=2.0, spike_fn=tt.functional.Arctan(2.0, learn_alpha=False))
    made = tt.to_nir(nn.Sequential(layer), 0.5)
    assert made.nodes["0"].v_threshold.dtype == np.float32
    assert tt.scan(tt.from_nir(made, 0.5), torch.ones(6, 1, 1)).flatten().tolist() == [0, 1, 0, 1, 0, 1]


def test_threshold_node_that_is_reached():
    node = nir.Threshold(np.array([1.0, 2.0]))
    model = tt.from_nir(nir.NIRGraph.from_list(node), DT, dtype=torch.float64)
    model[0].spike_fn = tt.functional.Arctan(2.0, learn_alpha=False)
    made = tt.to_nir(model, DT)
    np.testing.assert_array_equal(made.nodes["threshold"].threshold, np.nextafter([1.0, 2.0], 0))
    assert "fires at the threshold too" in tt.nir_report(model, DT).rows[0].note
    at = torch.tensor([[[1.0, 2.0]]], dtype=torch.float64)
    assert tt.scan(tt.from_nir(made, DT, dtype=torch.float64), at).flatten().tolist() == [1, 1]


def test_pruned_weights_are_those_that_are_used():
    linear = nn.Linear(3, 2)
    torch.nn.utils.prune.random_unstructured(linear, "weight", 0.5)
    made = tt.to_nir(nn.Sequential(linear), DT)
    np.testing.assert_array_equal(made.nodes["0"].weight, linear.weight.detach().numpy())
    assert (made.nodes["0"].weight == 0).sum() == 3


@pytest.mark.parametrize(("groups", "kernel"), [(2, (3, 3)), (1, (3, 1))], ids=["groups", "oblong"])
def test_shapes_that_nir_counts_wrongly(groups, kernel, tmp_path):
    """nir 1.0.8 takes the first size of a kernel for all of them, and leaves out groups in the number of channels."""
    conv = nn.Sequential(nn.Conv2d(2, 4, kernel, groups=groups), nn.Flatten())
    made = tt.to_nir(conv, DT, input_shape=(2, 5, 6))
    nir.write(tmp_path / "g.nir", made)
    with pytest.raises(ValueError, match="mismatch"):
        nir.read(tmp_path / "g.nir")
    assert "type_check=False" in str(tt.nir_report(conv, DT, input_shape=(2, 5, 6)))
    x = torch.rand(2, 3, 2, 5, 6)
    torch.testing.assert_close(tt.scan(tt.from_nir(tmp_path / "g.nir", DT), x), tt.scan(conv, x))


def test_report_is_a_table():
    cls = tt.compose(tt.Synaptic, tt.Binary, tt.Reset("zero"))
    model = nn.Sequential(nn.Linear(2, 3), cls(3, spike_fn=tt.functional.heavi_erfc(1.0)), tt.snn.DLIB(3))
    report = tt.nir_report(model, DT)
    assert [(row.name, row.becomes, row.verdict) for row in report.rows] == [
        ("0", "Affine", "exact"), ("1", "LI, LIF", "rescaled"), ("2", "-", "refused")]
    lines = str(report).splitlines()
    assert lines[0].split() == ["name", "type", "becomes", "verdict", "note"] and len(lines) == 4
    assert "a factor of 10" in lines[2] and "tt.Dual" in lines[3] and len(report.refused) == 1
    assert str(tt.nir_report(tt.to_nir(model[:2], DT), DT)) == str(tt.from_nir(tt.to_nir(model[:2], DT), DT).report)


def test_rounding_that_is_visible_is_said():
    slow = nir.NIRGraph.from_list(nir.LI(tau=np.full(2, 100.0), r=np.ones(2), v_leak=np.full(2, 0.1)))
    assert "float32 rounds the time constant of beta by" in tt.nir_report(slow, 1e-3).rows[0].note
    row = tt.from_nir(slow, 1e-3, dtype=torch.float64).report.rows[0]
    assert row.note == "v starts at 0, not at v_leak" and row.verdict == "exact"
