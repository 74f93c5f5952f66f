"""Tether's neurons: recorded numbers, exact gradients against plain autograd, equality with the layers, errors."""

import numpy as np
import pytest
import torch

import tracetorch as tt
from tests.support.golden import FLOOR, ROOT
from tracetorch.snn.tether import SURROGATES

F = tt.functional
RECORDED = np.load(ROOT / "surrogates_lif.npz")
RUNS = ["T1S3", "T33S7", "T64S5"]
RECORDED_TO = 1e-5
"""In float32 by other code. At worst eager differs by 3e-6 and C++ by 4e-6: twice that is allowed, rounded up."""
ALIF = {"decay_v": 0.85, "decay_a": 0.9, "threshold": 0.8, "beta": 0.4, "alpha": 2.0}


def recorded(*path):
    return torch.from_numpy(RECORDED["/".join(("tether", *path))])


def leaf(value):
    return torch.as_tensor(value).clone().requires_grad_()


def assert_recorded(run, case, outputs, leaves):
    spikes = next(iter(outputs.values()))
    grads = torch.autograd.grad((spikes * recorded(run, "w")).sum(), list(leaves.values()), allow_unused=True)
    found = outputs | {f"g{name}": grad for name, grad in zip(leaves, grads, strict=True)}
    for name, got in found.items():
        want = recorded(run, case, name)
        got = torch.zeros_like(want) if got is None else got
        assert got.shape == want.shape
        assert (got - want).abs().max() <= RECORDED_TO * max(want.abs().max(), FLOOR), name


@pytest.mark.parametrize("surrogate", [0, 1, 2])
@pytest.mark.parametrize("run", RUNS)
def test_lif_recorded(run, surrogate, backend):
    leaves = {"x": leaf(recorded(run, "x")), "decay": leaf([0.87]), "threshold": leaf([0.9]), "alpha": leaf([2.0])}
    x, *params = leaves.values()
    with tt.backend(backend):
        y, v_final, v_seq = F.LIFSubFunction.apply(x, recorded(run, "v0"), *params, surrogate)
        assert_recorded(run, f"lif/{surrogate}", {"y": y, "v_final": v_final, "v_seq": v_seq}, leaves)


@pytest.mark.parametrize("surrogate", [0, 1, 2])
@pytest.mark.parametrize("run", RUNS)
def test_plif_recorded(run, surrogate, backend):
    case = f"plif/{surrogate}"
    leaves = {"x": leaf(recorded(run, "x"))}
    leaves |= {name: leaf(recorded(run, case, name)) for name in ("decay", "threshold", "alpha")}
    x, *params = leaves.values()
    with tt.backend(backend):
        y, v_final, v_seq = F.PLIFSubFunction.apply(x, recorded(run, "v0"), *params, surrogate)
        assert_recorded(run, case, {"y": y, "v_final": v_final, "v_seq": v_seq}, leaves)


@pytest.mark.parametrize("run", RUNS)
def test_alif_recorded(run, backend):
    leaves = {"x": leaf(recorded(run, "x"))} | {name: leaf([value]) for name, value in ALIF.items()}
    x, *params = leaves.values()
    with tt.backend(backend):
        out = F.ALIFSubFunction.apply(x, recorded(run, "v0"), recorded(run, "a0"), *params)
        assert_recorded(run, "alif", dict(zip(("y", "v_final", "a_final", "v_seq", "a_seq"), out, strict=True)), leaves)


SMOOTH = [  # (u, alpha) -> what autograd differentiates instead of the spike
    lambda u, alpha: torch.atan(torch.pi * alpha * u) / torch.pi,
    lambda u, alpha: torch.sigmoid(alpha * u),
    lambda u, alpha: alpha * u / (1 + (alpha * u).abs()) / alpha.detach(),
]


def reference(smooth, x, v, a, decay, threshold, alpha, decay_a=0.0, beta=0.0):
    """The recurrences, step by step in plain torch."""
    spikes, v_seq, a_seq = [], [], []
    for x_t in x:
        v = decay * v + x_t
        u = v - (threshold + beta * a)
        soft = smooth(u, alpha)
        spike = (u >= 0).to(x.dtype) + soft - soft.detach()
        v_seq.append(v)
        a_seq.append(a)
        a = decay_a * a + spike
        v = torch.where(u >= 0, 0.0, v)
        spikes.append(spike)
    return torch.stack(spikes), v, a, torch.stack(v_seq), torch.stack(a_seq)


def double(*shape, low=0.0, high=1.0):
    return (torch.rand(shape, dtype=torch.float64) * (high - low) + low).requires_grad_()


def assert_same(got, want, leaves):
    """Equal outputs, and equal gradients of a random mix of all outputs."""
    cotangents = [torch.randn_like(o) for o in want]
    got_grads = torch.autograd.grad(got, leaves, cotangents)
    want_grads = torch.autograd.grad(want, leaves, cotangents)
    for a, b in zip((*got, *got_grads), (*want, *want_grads), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("surrogate", [0, 1, 2])
@pytest.mark.parametrize("steps", [1, 2, 23])
@pytest.mark.parametrize("shape", [(), (6,)], ids=["lif", "plif"])
def test_every_gradient_is_exact(surrogate, steps, shape, backend):
    x, v = double(steps, 6, low=-1.0, high=1.5), double(6)
    params = double(*shape, low=0.5, high=0.9), double(*shape, low=0.6), double(*shape, low=0.5, high=3.0)
    with tt.backend(backend):
        got = (F.plif if shape else F.lif)(x, v, *params, surrogate)
        want = reference(SMOOTH[surrogate], x, v, torch.zeros(6).double(), *params)
        assert_same(got, (want[0], want[1], want[3]), (x, v, *params))


@pytest.mark.parametrize("steps", [1, 2, 23])
def test_every_gradient_of_alif_is_exact(steps, backend):
    x, v, a = double(steps, 6, low=-1.0, high=1.5), double(6), double(6)
    decay, decay_a, threshold, beta, alpha = double(), double(), double(low=0.5), double(), double(low=1.0, high=3.0)
    with tt.backend(backend):
        got = F.alif(x, v, a, decay, decay_a, threshold, beta, alpha)
        want = reference(SMOOTH[0], x, v, a, decay, threshold, alpha, decay_a, beta)
        assert_same(got, want, (x, v, a, decay, decay_a, threshold, beta, alpha))


def test_gradcheck_where_nothing_fires():
    x, v, decay = double(4, 3), double(3), double()
    assert torch.autograd.gradcheck(lambda *args: F.lif(*args, threshold=100.0)[1:], (x, v, decay))


def test_hand_worked_steps():
    x = torch.tensor([[0.5], [0.5], [0.5], [0.25]])
    spikes, v_final, v_seq = F.lif(x, torch.tensor([0.5]), decay=0.5, threshold=0.875)
    assert v_seq.flatten().tolist() == [0.75, 0.875, 0.5, 0.5]
    assert spikes.flatten().tolist() == [0, 1, 0, 0] and v_final.tolist() == [0.5]


def test_hand_worked_adaptation():
    spikes, v_final, a_final, v_seq, a_seq = F.alif(
        torch.ones(3, 1), None, None, decay_v=0.5, decay_a=0.5, threshold=0.75, beta=0.5
    )
    assert a_seq.flatten().tolist() == [0.0, 1.0, 0.5]  # what raised the threshold to 0.75, 1.25, 1.0
    assert v_seq.flatten().tolist() == [1.0, 1.0, 1.5]
    assert spikes.flatten().tolist() == [1, 0, 1]
    assert v_final.tolist() == [0.0] and a_final.tolist() == [1.25]


def test_lif_is_the_layer(backend):
    layer = tt.snn.LIF(5, beta=0.8, threshold=0.7, spike_fn=F.Sigmoid(3.0))
    x = torch.randn(20, 2, 5)
    y = tt.scan(layer, x, backend=backend)
    with tt.backend(backend):
        spikes, v_final, _ = F.lif(x.flatten(1), None, layer.beta, layer.threshold, 3.0, F.Sigmoid)
    assert torch.equal(spikes.view_as(y), y) and torch.equal(v_final.view_as(layer.mem), layer.mem)


def test_plif_is_the_layer(backend):
    layer = tt.snn.PLIF(5, beta=torch.rand(5) * 0.5 + 0.4, threshold=torch.rand(5) + 0.2)
    x = torch.randn(20, 2, 5)
    y = tt.scan(layer, x, backend=backend)
    with tt.backend(backend):
        spikes, v_final, _ = F.plif(x.flatten(1), None, layer.beta, layer.threshold)
    assert torch.equal(spikes.view_as(y), y) and torch.equal(v_final.view_as(layer.mem), layer.mem)


def test_alif_is_the_layer(backend):
    layer = tt.snn.ALIF(5, beta=0.8, threshold=0.6, rho=0.9, kappa=0.3)
    x = torch.randn(20, 2, 5)
    y = tt.scan(layer, x, backend=backend)
    with tt.backend(backend):
        spikes, v, a, _, _ = F.alif(x.flatten(1), None, None, layer.beta, layer.rho, layer.threshold, layer.kappa)
    assert torch.equal(spikes.view_as(y), y)
    assert torch.equal(v.view_as(layer.mem), layer.mem) and torch.equal(a.view_as(layer.adapt), layer.adapt)


def test_parameters_per_neuron_serve_every_sample():
    x, decay, threshold = torch.randn(9, 12), torch.rand(4), torch.rand(4) + 0.1
    short = F.plif(x, None, decay, threshold, torch.ones(4))
    long = F.plif(x, None, decay.repeat(3), threshold.repeat(3), 1.0)
    assert all(torch.equal(a, b) for a, b in zip(short, long, strict=True))


def test_split_sequences_continue():
    x = torch.randn(11, 6)
    whole = F.lif(x)
    first = F.lif(x[:4])
    second = F.lif(x[4:], first[1])
    assert torch.equal(torch.cat([first[0], second[0]]), whole[0]) and torch.equal(second[1], whole[1])


def test_surrogates_by_class_and_number():
    x = torch.randn(5, 3, requires_grad=True)
    for number, kind in enumerate(SURROGATES):
        grads = [torch.autograd.grad(F.lif(x, surrogate_type=s)[0].sum(), x)[0] for s in (number, kind)]
        assert torch.equal(*grads)


def test_strided_input_and_wider_parameters():
    x = torch.randn(6, 5).T
    assert torch.equal(F.lif(x)[2], F.lif(x.contiguous())[2])
    assert F.lif(x, decay=torch.tensor(0.9, dtype=torch.float64))[0].dtype == torch.float64


@pytest.mark.parametrize(("run", "shape"), [(F.lif, ()), (F.plif, (3,))], ids=["lif", "plif"])
def test_an_empty_batch(run, shape):
    x, decay = torch.ones(4, 0, requires_grad=True), torch.full(shape, 0.5, requires_grad=True)
    spikes, v_final, v_seq = run(x, None, decay)
    assert spikes.shape == v_seq.shape == (4, 0) and v_final.shape == (0,)
    assert all(grad is not None for grad in torch.autograd.grad(v_seq.sum(), (x, decay)))


def test_half_precision_keeps_its_potential_in_float32():
    x = torch.randn(5, 6, dtype=torch.bfloat16)
    spikes, v_final, v_seq = F.lif(x)
    assert (spikes.dtype, v_final.dtype, v_seq.dtype) == (torch.bfloat16, torch.float32, torch.float32)
    assert torch.equal(v_seq, F.lif(x.float())[2])


X = torch.ones(2, 6)
BAD_INPUT = [
    (lambda: F.lif(X.long()), r"lif: x_seq must be a floating-point tensor \(got torch.int64\)"),
    (lambda: F.lif(None), r"lif: x_seq must be a floating-point tensor \(got NoneType\)"),
    (lambda: F.lif(X[None]), r"lif: x_seq must be \[n_steps, batch\*neurons\].*\(got \[1, 2, 6\]\).*flatten"),
    (lambda: F.lif(X[:0]), r"n_steps >= 1 \(got \[0, 6\]\)"),
    (lambda: F.lif(X, torch.ones(2)), r"lif: v_init must have shape \[6\].*\(got \[2\]\)"),
    (lambda: F.alif(X, None, torch.ones(1)), r"alif: a_init must have shape \[6\].*\(got \[1\]\)"),
    (lambda: F.lif(X, None, torch.ones(6)), r"lif: decay must be one number \(got shape \[6\]\); plif takes"),
    (lambda: F.alif(X, decay_a=torch.ones(6)), r"alif: decay_a must be one number"),
    (lambda: F.alif(X, beta=torch.ones(6)), r"alif: beta must be one number"),
    (lambda: F.plif(X, threshold=torch.ones(4)), r"plif: threshold must .* the 6 columns of x_seq \(got \[4\]\)"),
    (lambda: F.plif(X, decay=torch.ones(2), alpha=torch.ones(3)), r"must agree .*\(got {'decay': 2, 'alpha': 3}\)"),
    (lambda: F.lif(X, surrogate_type=3), r"0 or tt.functional.Arctan, 1 or .*, 2 or .*FastSigmoid \(got 3\)"),
]


@pytest.mark.parametrize(("call", "message"), BAD_INPUT, ids=[message.split(" must")[0] for _, message in BAD_INPUT])
def test_bad_input_is_explained(call, message):
    with pytest.raises(TypeError if "floating" in message else ValueError, match=message):
        call()


def test_layers_keep_a_slope_each_in_their_own_dtype():
    first, second = tt.snn.LIF(3, dtype=torch.float64), tt.snn.LIF(3)
    assert first.spike_fn.alpha.dtype is torch.float64 and second.spike_fn.alpha.dtype is torch.float32
    assert first.spike_fn is not second.spike_fn is not tt.snn.LIF(3).spike_fn
