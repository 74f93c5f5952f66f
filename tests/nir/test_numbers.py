"""tt.from_nir computes what NIR's equations say: against their own integration in numpy."""

import numpy as np
import pytest
import torch

import tracetorch as tt
from tests.conftest import BACKENDS
from tests.support.nir_equations import integrate
from tests.support.rounding import assert_as_right, nearby
from tracetorch.nir.stages import Synapse
from tracetorch.testing import check_stage

nir = pytest.importorskip("nir", reason="nir is an optional extra")
T, B, N, DT = 60, 2, 3, 1e-3
FIELDS = {
    "LI": ("tau", "r", "v_leak"), "I": ("r",), "CubaLI": ("tau_mem", "tau_syn", "w_in", "r", "v_leak"),
    "LIF": ("tau", "r", "v_leak", "v_threshold", "v_reset"), "IF": ("r", "v_threshold", "v_reset"),
    "CubaLIF": ("tau_mem", "tau_syn", "w_in", "r", "v_leak", "v_threshold", "v_reset"),
}
RANGES = {
    "tau": (5e-3, 2e-2), "tau_mem": (5e-3, 2e-2), "tau_syn": (2e-3, 8e-3), "w_in": (0.5, 2), "r": (1, 3),
    "v_leak": (-0.2, 0.2), "v_threshold": (0.3, 0.6), "v_reset": (-0.3, 0.1),
}


def parameters(kind, seed=0, **given):
    """Draw a value for each neuron and parameter."""
    draw = np.random.default_rng(seed)
    found = {name: draw.uniform(*RANGES[name], N) for name in FIELDS[kind]}
    if kind in ("I", "IF"):
        found["r"] = found["r"] * 50        # per second
    return {**found, **given}


def drawn(seed):
    return np.random.default_rng(seed).uniform(-0.5, 2, (T, B, N))


def held(kind, values, method="euler", dtype=torch.float64, seed=1, backend="eager"):
    """Scan the node and integrate its equations over one input; return both, outputs and v."""
    x = drawn(seed)
    model = tt.from_nir(nir.NIRGraph.from_list(getattr(nir, kind)(**values)), DT, method, dtype=dtype)
    with tt.backend(backend):
        y, seen = tt.scan(model, torch.from_numpy(x).to(torch.get_default_device(), dtype), record="potential")
    want_y, want_v = integrate(kind, values, x, DT, method)
    got_v = next(iter(seen.values()))
    return y.detach().cpu(), got_v.detach().cpu(), torch.from_numpy(want_y), torch.from_numpy(want_v)


def same(got_y, got_v, want_y, want_v):
    torch.testing.assert_close(got_v, want_v, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(got_y, want_y, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("backend", [*BACKENDS, pytest.param("triton", marks=pytest.mark.triton)])
@pytest.mark.parametrize("method", ["euler", "exact"])
@pytest.mark.parametrize("kind", FIELDS)
def test_node_follows_its_equations(kind, method, backend):
    got = held(kind, parameters(kind), method, backend=backend)
    same(*got)
    if kind.endswith("F"):
        assert torch.equal(got[0], got[2]) and 10 < got[2].sum() < 0.6 * T * B * N


@pytest.mark.parametrize("method", ["euler", "exact"])
def test_plain_parameters_need_no_stage_of_their_own(method):
    values = parameters("LIF", r=np.ones(N), v_leak=np.zeros(N), v_reset=np.zeros(N))
    model = tt.from_nir(nir.NIRGraph.from_list(nir.LIF(**values)), DT, method)
    assert type(model[0]).stages == (tt.EMA(), tt.Binary(biased=False), tt.Reset("zero"))
    same(*held("LIF", values, method))


def test_reset_to_zero_is_the_default_of_nir():
    values = parameters("LIF")
    del values["v_reset"]
    same(*held("LIF", values | {"v_reset": np.zeros(N)}))
    graph = nir.NIRGraph.from_list(nir.LIF(**values))
    assert tt.Reset("zero") in type(tt.from_nir(graph, DT)[0]).stages


def test_threshold_below_zero():
    """Voltages in volts: at rest at -65 mV, reset to -70, threshold -50."""
    values = dict(tau=np.full(N, 1e-2), r=np.full(N, 0.02), v_leak=np.full(N, -0.065), v_reset=np.full(N, -0.07),
                  v_threshold=np.full(N, -0.05))
    got = held("LIF", values)
    same(*got)
    assert got[2].sum() > 5


@pytest.mark.parametrize("distance", [0, 1e-13, 1e-9, 1e-5, 0.99e-4, 1.01e-4, 1e-3])
def test_exact_current_where_time_constants_are_equal_or_nearly(distance):
    tau = np.full(N, 1e-2)
    values = parameters("CubaLI", tau_mem=tau, tau_syn=tau * (1 + distance * np.array([1, -1, 10])))
    same(*held("CubaLI", values, "exact"))


def test_spike_above_the_threshold_and_not_at_it():
    one = dict(r=np.array([1.0]), v_threshold=np.array([1.0]), v_reset=np.array([0.0]))
    model = tt.from_nir(nir.NIRGraph.from_list(nir.IF(**one)), 0.25, dtype=torch.float64)
    y = tt.scan(model, torch.ones(10, 1, 1, dtype=torch.float64)).flatten()
    assert y.tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0, 1]       # 0.25, 0.5, 0.75, 1: no spike; 1.25: spike


def test_float32_is_the_same_but_for_rounding():
    values = parameters("LI")
    got_y, got_v, _, want_v = held("LI", values, dtype=torch.float32)
    assert got_y.dtype == torch.float32
    x = torch.from_numpy(drawn(1)).float()
    assert_as_right([got_v], [[in_float32(v, **values)] for _, v in nearby(torch.nn.Identity(), x)], [want_v])


def in_float32(x, tau, r, v_leak):
    """v of LI by Euler's method, with the decay a number of its own."""
    beta, r, v_leak = (torch.from_numpy(value).float() for value in (1 - DT / tau, r, v_leak))
    v, vs = torch.zeros(B, N), []
    for x_t in x:
        v = beta * v + (1 - beta) * (v_leak + r * x_t)
        vs.append(v)
    return torch.stack(vs)


def test_gradients_reach_every_parameter():
    for method in ("euler", "exact"):
        model = tt.from_nir(nir.NIRGraph.from_list(nir.CubaLIF(**parameters("CubaLIF"))), DT, method)
        tt.scan(model, torch.rand(T, B, N) * 2).sum().backward()
        gradients = {name: p.grad for name, p in model.named_parameters()}
        assert set(gradients) == {f"cubalif.raw_{n}" for n in ("w_in", "alpha", "r", "v_leak", "beta", "threshold",
                                                               "reset_to")}
        assert all(g.isfinite().all() and (g != 0).any() for g in gradients.values())


def test_exact_current_as_a_stage():
    """The generic tests run over stages as they are by default, which is Euler's method."""
    check_stage(Synapse("exact"))


@pytest.mark.parametrize("equal", [False, True])
def test_gradient_of_the_exact_current(equal):
    """By the equations: the solution's derivative by each time constant, from differences of expm."""
    tau = np.array([1e-2])
    values = {"tau_mem": tau, "tau_syn": tau if equal else tau / 3, "w_in": np.ones(1), "r": np.ones(1),
              "v_leak": np.zeros(1)}
    model = tt.from_nir(nir.NIRGraph.from_list(nir.CubaLI(**values)), DT, "exact", dtype=torch.float64)
    x = torch.rand(20, 1, 1, dtype=torch.float64)
    tt.scan(model, x)[-1].sum().backward()
    layer = model[0]
    for name, raw in (("tau_mem", layer.raw_beta), ("tau_syn", layer.raw_alpha)):
        decay = torch.sigmoid(raw.detach())
        per_decay = -DT / np.log(decay.numpy()) ** 2 / -decay.numpy()      # d tau / d decay
        ends = []
        for sign in (1, -1):
            moved = values | {name: values[name] * (1 + sign * 1e-5)}
            ends.append(integrate("CubaLI", moved, x.numpy(), DT, "exact")[0][-1].sum())
        by_tau = (ends[0] - ends[1]) / (2e-5 * values[name])
        want = by_tau * per_decay * (decay * (1 - decay)).numpy()
        np.testing.assert_allclose(raw.grad.numpy(), want, rtol=1e-6)


def through(node, x, shape=None):
    graph = nir.NIRGraph(nodes={"input": nir.Input({"input": np.array(shape or x.shape[2:])}), "node": node,
                                "output": nir.Output({"output": None})},
                         edges=[("input", "node"), ("node", "output")], type_check=False)
    return tt.scan(tt.from_nir(graph, DT, dtype=torch.float64), torch.from_numpy(x)).detach().numpy()


def windows(x, size, stride):
    """Yield (row, column, window) of the last two dimensions."""
    for i in range((x.shape[-2] - size[0]) // stride[0] + 1):
        for j in range((x.shape[-1] - size[1]) // stride[1] + 1):
            yield i, j, x[..., i * stride[0]:i * stride[0] + size[0], j * stride[1]:j * stride[1] + size[1]]


@pytest.mark.parametrize("kind", ["SumPool2d", "AvgPool2d"])
def test_pools_count_the_padding(kind):
    x = np.random.default_rng(0).normal(size=(2, 3, 2, 5, 6))
    node = getattr(nir, kind)(kernel_size=np.array([2, 3]), stride=np.array([1, 2]), padding=np.array([1, 0]))
    padded = np.pad(x, [(0, 0)] * 3 + [(1, 1), (0, 0)])
    want = np.zeros((2, 3, 2, 6, 2))
    for i, j, window in windows(padded, (2, 3), (1, 2)):
        want[..., i, j] = window.sum((-1, -2)) / (6 if kind == "AvgPool2d" else 1)
    np.testing.assert_allclose(through(node, x), want, rtol=1e-12, atol=1e-14)


def test_convolution_in_two_dimensions():
    draw = np.random.default_rng(0)
    x, weight, bias = draw.normal(size=(2, 3, 4, 5, 6)), draw.normal(size=(4, 2, 3, 2)), draw.normal(size=4)
    node = nir.Conv2d(input_shape=(5, 6), weight=weight, stride=(2, 1), padding=(0, 0), dilation=1, groups=2, bias=bias)
    want = np.zeros((2, 3, 4, 2, 5))
    for i, j, window in windows(x, (3, 2), (2, 1)):
        for out in range(4):
            part = window[:, :, 2 * (out // 2):2 * (out // 2) + 2]
            want[:, :, out, i, j] = (part * weight[out]).sum((-1, -2, -3)) + bias[out]
    np.testing.assert_allclose(through(node, x), want, rtol=1e-12, atol=1e-14)


def test_convolution_in_one_dimension():
    draw = np.random.default_rng(0)
    x, weight, bias = draw.normal(size=(2, 3, 2, 7)), draw.normal(size=(4, 2, 3)), draw.normal(size=4)
    node = nir.Conv1d(input_shape=7, weight=weight, stride=1, padding="same", dilation=1, groups=1, bias=bias)
    padded = np.pad(x, [(0, 0)] * 3 + [(1, 1)])
    want = np.stack([(padded[..., None, :, i:i + 3] * weight).sum((-1, -2)) + bias for i in range(7)], -1)
    np.testing.assert_allclose(through(node, x), want, rtol=1e-12, atol=1e-14)


def test_linear_affine_scale_and_threshold():
    draw = np.random.default_rng(0)
    x, weight, bias = draw.normal(size=(2, 3, 4)), draw.normal(size=(5, 4)), draw.normal(size=5)
    np.testing.assert_allclose(through(nir.Linear(weight), x), x @ weight.T, rtol=1e-12)
    np.testing.assert_allclose(through(nir.Affine(weight, bias), x), x @ weight.T + bias, rtol=1e-12)
    np.testing.assert_array_equal(through(nir.Scale(weight[0]), x), x * weight[0])
    level = x[0, 0].copy()      # at the threshold there is no spike
    np.testing.assert_array_equal(through(nir.Threshold(level), x), (x > level).astype(float))


@pytest.mark.parametrize(("start", "end", "shape"), [(0, -1, (24,)), (1, -1, (2, 12)), (0, 1, (6, 4)),
                                                     (-2, -1, (2, 12))])
def test_flatten_does_not_count_the_batch(start, end, shape):
    x = np.random.default_rng(0).normal(size=(2, 3, 2, 3, 4))
    node = nir.Flatten({"input": np.array([2, 3, 4])}, start_dim=start, end_dim=end)
    np.testing.assert_array_equal(through(node, x), x.reshape(2, 3, *shape))
