"""Surrogates: recorded and hand-worked values, trainable slopes, tracing, pickling, errors, statistics."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import tracetorch.functional as F
from tests.support.golden import ROOT
from tests.support.tracing import gradient, trace

RECORDED = np.load(ROOT / "surrogates_lif.npz")
NORSE = sorted({tuple(k.split("/")[1:3]) for k in RECORDED.files if k.startswith("norse/") and k.endswith("gx")})
FIXED = [F.HeaviErfc(), F.HeaviTanh(), F.HeaviCirc(), F.Triangle(), F.SuperSpike()]
SAMPLED = [F.Logistic(), F.CircDist()]
SLOPES = [F.Arctan, F.Sigmoid, F.FastSigmoid]


class Softstep(nn.Module):
    """A smooth function with a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        return torch.tanh(self.slope * x)


def every_spike_fn():
    return [*FIXED, *SAMPLED, *(kind(1.3) for kind in SLOPES), F.surrogate(torch.sigmoid), F.surrogate(Softstep()),
            F.MultiSpike(), F.surrogate(torch.sigmoid, most=3)]


def recorded(name):
    return torch.from_numpy(RECORDED[name])


def close(got, want):
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("name", "k"), NORSE)
def test_recorded_values(name, k):
    kind, key = getattr(F, name), f"norse/{name}/{k}"
    y, grad = gradient(lambda x: kind.apply(x, float(k)), recorded("norse/x"), recorded("norse/w"))
    close(grad, recorded(f"{key}/gx"))
    if f"{key}/y" in RECORDED:
        assert torch.equal(y, recorded(f"{key}/y"))
    else:
        probability, n = recorded(f"{key}/prob"), 10000
        mean = kind(float(k))(recorded("norse/x").expand(n, -1)).mean(0)
        assert ((mean - probability).abs() < 4.5 * (probability * (1 - probability) / n).sqrt() + 1e-4).all()


@pytest.mark.parametrize(
    ("fn", "x", "want"),
    [
        (F.heavi_erfc(2.0), 0.5, 2 / np.pi**0.5 / np.e),
        (F.heavi_tanh(1.0), np.log(2.0) / 2, 8 / 9),  # tanh = 1/3
        (F.heavi_circ(3.0), 4.0, 0.6**3),
        (F.triangle(0.5), -0.75, 0.125),
        (F.triangle(0.5), 1.5, 0.0),
        (F.super_spike(10.0), -0.1, 0.25),
        (F.multi_spike(0.5), -1.0, np.exp(-2.0)),
        (F.multi_spike(0.5), 2.0, 1.0),
        (F.multi_spike(0.5), 2.25, np.exp(-1.0)),       # twice the distance to the nearest level
        (F.multi_spike(0.25), 0.75, np.exp(-2.0)),
        (F.Arctan(2.0), 1 / (2 * np.pi), 1.0),
        (F.Sigmoid(4.0), 0.0, 1.0),
        (F.FastSigmoid(3.0), 1.0, 1 / 16),
    ],
    ids=repr,
)
def test_hand_worked_derivatives(fn, x, want):
    x = torch.tensor([x], dtype=torch.float64)
    fn = fn.double() if isinstance(fn, nn.Module) else fn
    assert gradient(fn, x, torch.ones_like(x))[1].item() == pytest.approx(want, rel=1e-7)


def test_several_spikes():
    x = torch.tensor([-2.5, -0.0, 0.0, 0.5, 1.0, 3.99])
    assert F.multi_spike()(x).tolist() == [0, 1, 1, 1, 2, 4]


def test_several_spikes_with_any_surrogate():
    x = torch.tensor([-2.5, 0.0, 0.5, 1.0, 3.99])
    assert F.surrogate(torch.tanh, most=None)(x).tolist() == [0, 1, 1, 2, 4]
    assert F.surrogate(torch.tanh, most=3)(x).tolist() == [0, 1, 1, 2, 3]
    _, grad = gradient(F.surrogate(torch.square, most=None), x, torch.ones_like(x))
    assert grad.tolist() == pytest.approx((2 * x).tolist())
    assert "most=3" in repr(F.surrogate(torch.tanh, most=3)) and "most" not in repr(F.surrogate(torch.tanh))
    for most in (0, 1.5, True):
        with pytest.raises(ValueError, match=r"surrogate: most must be a whole number from 1, or None"):
            F.surrogate(torch.tanh, most=most)


def test_norse_leaves_out_the_slope():
    """`superspike_fn(x)` is called so in Norse's own tests; its default is 100."""
    x = torch.tensor([-0.01, 0.03], dtype=torch.float64)
    assert gradient(F.SuperSpike.apply, x, torch.ones_like(x))[1].tolist() == pytest.approx([1 / 4, 1 / 16])
    with pytest.raises(TypeError, match="apply"):
        F.SuperSpike.apply()


def test_what_happens_exactly_at_the_threshold():
    x = torch.tensor([-1e-30, -0.0, 0.0, 1e-30])
    for fn in FIXED:
        assert fn(x).tolist() == [0, 0, 0, 1]
    for fn in [*(kind() for kind in SLOPES), F.surrogate(torch.tanh)]:
        assert fn(x).tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize("any_dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_spikes_and_gradients_stay_finite_and_in_their_dtype(any_dtype):
    x = torch.tensor([-60000.0, -1.0, 0.0, 1e-7, 60000.0], dtype=any_dtype)
    for fn in every_spike_fn():
        y, grad = gradient(fn, x, torch.ones_like(x))
        assert y.dtype == grad.dtype == any_dtype
        assert y.isfinite().all() and grad.isfinite().all()
        assert ((y == 0) | (y == 1)).all() or isinstance(fn, F.MultiSpike) or fn.most == 3


PRIMITIVES = {F.Arctan: lambda z: torch.atan(torch.pi * z) / torch.pi, F.Sigmoid: torch.sigmoid}


@pytest.mark.parametrize("kind", PRIMITIVES)
@pytest.mark.parametrize("shape", [(), (5,)], ids=["one slope", "one per neuron"])
def test_gradients_are_those_of_the_smooth_primitive(kind, shape):
    fn = kind(torch.rand(shape, dtype=torch.float64) + 0.5)
    u, cotangent = torch.randn(2, 7, 5, dtype=torch.float64)
    u.requires_grad_()
    got = torch.autograd.grad(fn(u), (u, fn.alpha), cotangent)
    want = torch.autograd.grad(PRIMITIVES[kind](fn.alpha * u), (u, fn.alpha), cotangent)
    for a, b in zip(got, want, strict=True):
        close(a, b)


@pytest.mark.parametrize("kind", SLOPES)
def test_gradient_of_the_slope_follows_its_rule(kind):
    fn = kind(torch.tensor([0.5, 2.0], dtype=torch.float64))
    u = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)
    cotangent = torch.randn(6, 2, dtype=torch.float64)
    gu, galpha = torch.autograd.grad(fn(u), (u, fn.alpha), cotangent)
    close(galpha, (gu * u / fn.alpha).sum(0).detach())


def test_a_fixed_slope_is_a_buffer():
    fn = F.Arctan(1.5, learn_alpha=False)
    assert not list(fn.parameters()) and list(fn.state_dict()) == ["alpha"]
    u = torch.randn(3, requires_grad=True)
    fn(u).sum().backward()
    assert u.grad is not None and fn.alpha.grad is None


def test_slopes_do_not_share_their_tensor():
    alpha = torch.tensor([1.0, 2.0])
    fn = F.Sigmoid(alpha)
    alpha.zero_()
    assert fn.alpha.tolist() == [1.0, 2.0]


def test_a_surrogate_passes_its_functions_derivative():
    x, cotangent = torch.randn(2, 50, dtype=torch.float64)
    y, grad = gradient(F.surrogate(torch.tanh), x, cotangent)
    assert torch.equal(y, (x >= 0).double())
    close(grad, cotangent * (1 - torch.tanh(x) ** 2))


def test_a_surrogate_trains_its_module():
    fn, reference = F.surrogate(Softstep()).double(), Softstep().double()
    assert list(fn.state_dict()) == ["fn.slope"]
    x = torch.randn(50, dtype=torch.float64)
    fn(x).square().sum().backward()
    reference(x).backward(2 * (x >= 0).double())
    close(fn.fn.slope.grad, reference.slope.grad)


@pytest.mark.parametrize("index", range(len(every_spike_fn())), ids=[type(f).__name__ for f in every_spike_fn()])
def test_traces_to_elementwise_operators(index, dtype):
    fn = every_spike_fn()[index]
    fn = fn.to(dtype) if isinstance(fn, nn.Module) else fn
    x, cotangent = torch.randn(2, 4, dtype=dtype)
    graph = trace(fn, x)
    torch.manual_seed(1)
    got = graph(x, cotangent)
    torch.manual_seed(1)
    want = gradient(fn, x, cotangent)
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


@pytest.mark.parametrize("fn", [F.heavi_erfc(2.0), F.logistic(), F.Arctan(), F.surrogate(torch.tanh)], ids=repr)
def test_compiles_without_a_graph_break(fn):
    x = torch.randn(8, requires_grad=True)
    torch.manual_seed(1)
    y = torch.compile(fn, fullgraph=True, backend="aot_eager")(x)
    (grad,) = torch.autograd.grad(y.sum(), x)
    torch.manual_seed(1)
    want, want_grad = gradient(fn, x, torch.ones(8))
    assert torch.equal(y, want) and torch.equal(grad, want_grad)


@pytest.mark.parametrize("fn", FIXED + SAMPLED, ids=repr)
def test_fixed_slopes_pickle_compare_and_show_themselves(fn):
    assert pickle.loads(pickle.dumps(fn)) == fn == eval(repr(fn), vars(F))
    assert fn != type(fn)(fn.k + 1) and hash(fn) == hash(copy.copy(fn))


def test_kinds_with_equal_slopes_differ():
    assert len({F.heavi_erfc(1.0), F.heavi_tanh(1.0), F.heavi_circ(1.0), F.logistic(1.0), F.circ_dist(1.0)}) == 5


@pytest.mark.parametrize("fn", [F.Arctan(torch.ones(3)), F.surrogate(torch.tanh), F.surrogate(Softstep())], ids=repr)
def test_modules_pickle_and_copy(fn):
    x = torch.randn(4, 3)
    for twin in (pickle.loads(pickle.dumps(fn)), copy.deepcopy(fn)):
        assert torch.equal(gradient(twin, x, x)[1], gradient(fn, x, x)[1])


def test_modules_show_their_settings():
    assert repr(F.Arctan(2.0)) == "Arctan(alpha=2, learn_alpha=True)"
    assert repr(F.FastSigmoid(torch.ones(3), learn_alpha=False)) == "FastSigmoid(alpha=[3], learn_alpha=False)"
    assert repr(F.surrogate(torch.tanh)) == "Surrogate(fn=tanh)"


def test_a_tensor_as_slope_broadcasts():
    x, k = torch.randn(6, 3), torch.tensor([0.5, 1.0, 2.0])
    for kind in (F.HeaviErfc, F.HeaviCirc, F.SuperSpike):
        grad = gradient(lambda x, kind=kind: kind.apply(x, k), x, torch.ones_like(x))[1]
        for i in range(3):
            column = gradient(kind(k[i].item()), x[:, i], torch.ones(6))[1]
            torch.testing.assert_close(grad[:, i], column)


METHODS = {"super": F.SuperSpike, "triangle": F.Triangle, "tanh": F.HeaviTanh, "circ": F.HeaviCirc,
           "heavi_erfc": F.HeaviErfc}  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_threshold_and_sign_by_name(method):
    x, cotangent = torch.randn(2, 20)
    y, grad = gradient(METHODS[method](0.7), x, cotangent)
    for fn, scale, shift in ((F.threshold, 1, 0), (F.sign, 2, -1)):
        value, slope = gradient(lambda x, fn=fn: fn(x, method, 0.7), x, cotangent)
        assert torch.equal(value, scale * y + shift) and torch.equal(slope, scale * grad)


def test_heaviside_has_no_gradient():
    y = F.threshold(torch.tensor([-1.0, 0.0, 1.0], requires_grad=True), "heaviside", 1.0)
    assert y.tolist() == [0, 0, 1] and not y.requires_grad


def test_an_unknown_method_lists_the_known():
    with pytest.raises(ValueError, match=r"one of heaviside, super, triangle, tanh, circ, heavi_erfc \(got 'tent'\)"):
        F.threshold(torch.zeros(1), "tent", 1.0)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), torch.tensor(1.0)], ids=repr)
def test_bad_slopes_are_refused(bad):
    with pytest.raises(ValueError, match=r"SuperSpike: k must be a finite number greater than 0 .*use Arctan"):
        F.super_spike(bad)


@pytest.mark.parametrize("bad", [0.0, torch.tensor([1.0, -2.0])], ids=repr)
def test_bad_trainable_slopes_are_refused(bad):
    with pytest.raises(ValueError, match=r"Arctan: alpha: every value must be greater than 0 \(got (0|-2)\)"):
        F.Arctan(bad)


def test_a_surrogate_needs_a_function():
    with pytest.raises(TypeError, match=r"surrogate: fn must be a function or module of one tensor \(got 3\)"):
        F.surrogate(3)
