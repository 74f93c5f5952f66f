"""A neuron that reads itself through one matrix: a cycle in NIR, tt.Feedback here, one step later in both."""

import numpy as np
import pytest
import torch
from torch import nn

import tracetorch as tt
from tests.support.messages import fails
from tests.support.nir_equations import advance

nir = pytest.importorskip("nir", reason="nir is an optional extra")
DT, T, B, N = 1e-3, 40, 2, 3
DRAW = np.random.default_rng(0)
W, BIAS, FIRST = DRAW.normal(size=(N, N)), DRAW.normal(size=N) * 0.3, DRAW.uniform(0.3, 1, (N, 2))
LEAK = {"r": DRAW.uniform(1, 3, N), "v_leak": DRAW.uniform(-0.1, 0.1, N)}
FIRE = {"v_threshold": DRAW.uniform(0.2, 0.5, N), "v_reset": DRAW.uniform(-0.2, 0.1, N)}
CUBA = {"tau_mem": DRAW.uniform(5e-3, 2e-2, N), "tau_syn": DRAW.uniform(2e-3, 9e-3, N), "w_in": DRAW.uniform(1, 2, N)}
VALUES = {"LI": {"tau": CUBA["tau_mem"], **LEAK}, "LIF": {"tau": CUBA["tau_mem"], **LEAK, **FIRE},
          "CubaLIF": {**CUBA, **LEAK, **FIRE}, "IF": {"r": LEAK["r"] * 50, **FIRE}}
X = DRAW.uniform(-1, 2, (T, B, 2))


def recurrent(kind, affine=False, names=("lif", "w_rec"), outside=()):
    """first -> neuron -> output, and neuron -> path -> neuron."""
    neuron, path = names
    nodes = {"input": nir.Input({"input": np.array([2])}), "first": nir.Linear(FIRST),
             neuron: getattr(nir, kind)(**VALUES[kind]), path: nir.Affine(W, BIAS) if affine else nir.Linear(W),
             "output": nir.Output({"output": np.array([N])})}
    edges = [("input", "first"), ("first", neuron), (path, neuron), (neuron, path), (neuron, "output")]
    return nir.NIRGraph(nodes, [*edges, *outside])


def by_hand(kind, method, bias=0.0):
    """The equations, step by step, each input being what comes from before plus W times the outputs a step ago."""
    y = np.zeros((T, B, N))
    for b in range(B):
        states, last = np.zeros((N, 2)), np.zeros(N)
        for t in range(T):
            drive = FIRST @ X[t, b] + W @ last + bias
            for i in range(N):
                p = {name: float(value[i]) for name, value in VALUES[kind].items()}
                states[i] = advance(kind, p, states[i], drive[i], DT, method)
                last[i] = states[i, 1]
                if "v_threshold" in p:
                    last[i] = states[i, 1] > p["v_threshold"]
                    states[i, 1] = p["v_reset"] if last[i] else states[i, 1]
            y[t, b] = last
    return y


@pytest.mark.parametrize("affine", [False, True], ids=["linear", "affine"])
@pytest.mark.parametrize("method", ["euler", "exact"])
@pytest.mark.parametrize("kind", VALUES)
def test_cycle_follows_its_equations(kind, method, affine, backend):
    model = tt.from_nir(recurrent(kind, affine), DT, method, dtype=torch.float64)
    assert isinstance(model, nn.Sequential) and isinstance(model.lif, tt.Feedback)
    with tt.backend(backend):
        y = tt.scan(model, torch.from_numpy(X)).detach().numpy()
    want = by_hand(kind, method, BIAS if affine else 0.0)
    np.testing.assert_allclose(y, want, rtol=1e-9, atol=1e-12)
    assert kind == "LI" or 10 < want.sum() < 0.7 * want.size


@pytest.mark.parametrize("affine", [False, True], ids=["linear", "affine"])
def test_cycle_comes_back_with_its_names(affine, tmp_path):
    graph = recurrent("CubaLIF", affine)
    model = tt.from_nir(graph, DT, dtype=torch.float64)
    nir.write(tmp_path / "g.nir", tt.to_nir(model, DT))
    back = nir.read(tmp_path / "g.nir")
    assert set(back.nodes) == set(graph.nodes) and set(back.edges) == set(graph.edges)
    np.testing.assert_array_equal(back.nodes["w_rec"].weight, W)
    for name, value in VALUES["CubaLIF"].items():
        np.testing.assert_allclose(getattr(back.nodes["lif"], name), value, rtol=1e-9)
    assert [(row.name, row.becomes, row.note) for row in tt.nir_report(model, DT).rows if "path" in row.name] == [
        ("lif.path", "Affine" if affine else "Linear", "a step later")]


def test_cycle_within_a_graph():
    """As other libraries write recurrent layers."""
    inner = recurrent("LIF")
    whole = nir.NIRGraph({"input": nir.Input({"input": np.array([2])}), "rnn": inner,
                          "output": nir.Output({"output": np.array([N])})}, [("input", "rnn"), ("rnn", "output")])
    model = tt.from_nir(whole, DT, dtype=torch.float64)
    x = torch.from_numpy(X)
    np.testing.assert_array_equal(tt.scan(model, x).detach().numpy(), by_hand("LIF", "euler"))
    back = tt.to_nir(model, DT)
    assert ("rnn_w_rec", "rnn_lif") in back.edges and ("rnn_lif", "rnn_w_rec") in back.edges
    np.testing.assert_array_equal(tt.scan(tt.from_nir(back, DT, dtype=torch.float64), x).detach().numpy(),
                                  by_hand("LIF", "euler"))


def test_cycle_beside_a_branch():
    """What goes around is one step old, what goes past is not."""
    graph = recurrent("LIF", outside=[("first", "output")])
    model = tt.from_nir(graph, DT, dtype=torch.float64)
    y = tt.scan(model, torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(y, by_hand("LIF", "euler") + X @ FIRST.T, rtol=1e-12)
    assert model.sources == {"first": ("input",), "lif": ("first",), "output": ("lif", "first")}
    assert set(tt.to_nir(model, DT).edges) == set(graph.edges)


@pytest.mark.parametrize("linear", [nn.Linear, tt.Linear])
def test_feedback_goes_out_and_comes_back(linear):
    cls = tt.compose(tt.Synaptic, tt.Binary, tt.Reset("zero"))
    neuron = cls(N, beta=0.9, threshold=0.2, dtype=torch.float64, spike_fn=tt.functional.heavi_erfc(1.0))
    model = nn.Sequential(tt.Feedback(neuron, linear(N, N, dtype=torch.float64)))
    graph = tt.to_nir(model, DT)
    assert set(graph.edges) == {("input", "0_syn"), ("0_syn", "0"), ("0", "0_path"), ("0_path", "0_syn"),
                                ("0", "output")}


def test_feedback_over_a_trace_is_refused_on_the_way_back():
    """The current of tt.Synaptic is a node of its own, so the cycle has two neurons, which can't be read."""
    cls = tt.compose(tt.Synaptic, tt.Binary, tt.Reset("zero"))
    model = nn.Sequential(tt.Feedback(cls(N, spike_fn=tt.functional.heavi_erfc(1.0)), nn.Linear(N, N)))
    with fails(ValueError, "it lies on the cycle", "one neuron that reads itself through one Linear or Affine"):
        tt.from_nir(tt.to_nir(model, DT), DT)


def test_feedback_of_a_leaky_neuron():
    cls = tt.compose(tt.Binary, tt.Reset("zero"))
    neuron = cls(N, beta=0.9, threshold=0.2, dtype=torch.float64, spike_fn=tt.functional.heavi_erfc(1.0))
    first, path = nn.Linear(2, N, dtype=torch.float64), nn.Linear(N, N, dtype=torch.float64)
    model = nn.Sequential(first, tt.Feedback(neuron, path))
    x = torch.from_numpy(X)
    y = tt.scan(model, x)
    assert 10 < y.sum() < 0.9 * y.numel()
    torch.testing.assert_close(tt.scan(tt.from_nir(tt.to_nir(model, DT), DT, dtype=torch.float64), x), y)


def test_cycles_that_are_refused():
    two = recurrent("LIF")
    two.nodes["more"] = nir.Linear(W)
    two.edges += [("lif", "more"), ("more", "lif")]
    with fails(ValueError, "node 'lif' (LIF): two cycles lead back to it, through 'w_rec' and 'more'", "join"):
        tt.from_nir(two, DT)
    itself = recurrent("LIF", outside=[("lif", "lif")])
    with fails(ValueError, "node 'lif' (LIF): it lies on the cycle lif (LIF) -> lif (LIF)"):
        tt.from_nir(itself, DT)
    heard = recurrent("LIF", outside=[("w_rec", "output")])
    with fails(ValueError, "it lies on the cycle", "w_rec (Linear)"):
        tt.from_nir(heard, DT)
    alone = recurrent("LIF")
    alone.edges.remove(("first", "lif"))
    alone.edges.append(("first", "output"))
    with fails(ValueError, "node 'lif' (LIF): it reads nothing but itself"):
        tt.from_nir(alone, DT)


def test_feedback_that_nir_cannot_say():
    neuron = tt.compose(tt.Binary, tt.Reset("zero"))(N, spike_fn=tt.functional.heavi_erfc(1.0))
    with fails(ValueError, "layer '0' (Feedback): its path is Identity; here a cycle", "through one nn.Linear"):
        tt.to_nir(nn.Sequential(tt.Feedback(neuron, nn.Identity())), DT)
    with fails(ValueError, "layer '0' (Feedback): tt.Ternary"):
        tt.to_nir(nn.Sequential(tt.Feedback(tt.snn.LIT(N), nn.Linear(N, N))), DT)

    class Odd(tt.Layer):
        pass

    with fails(ValueError, "layer '0' (Feedback): its neuron, Odd, has a forward of its own"):
        tt.to_nir(nn.Sequential(tt.Feedback(Odd(N), nn.Linear(N, N))), DT)
    bad = recurrent("LIF")
    bad.nodes["w_rec"] = nir.Linear(np.ones((N, N, N)))
    with fails(ValueError, "node 'w_rec' (Linear): its weight has shape [3, 3, 3]"):
        tt.from_nir(bad, DT)
