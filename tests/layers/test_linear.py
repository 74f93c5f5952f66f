"""tt.Linear: nn.Linear in everything but the order of sums, the same bits on every path."""

import copy
import pickle
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

import tracetorch as tt
from tests.support.linear import check_rounds_as, equal, pair, run, spikes
from tests.support.messages import fails
from tests.support.rounding import assert_as_right
from tracetorch.backends.cpp import matrix
from tracetorch.demo import digits

pytestmark = pytest.mark.skipif(matrix.why_not() is not None, reason=str(matrix.why_not()))


def test_is_an_nn_linear():
    torch.manual_seed(3)
    theirs = nn.Linear(5, 4)
    torch.manual_seed(3)
    ours = tt.Linear(5, 4)
    assert isinstance(ours, nn.Linear) and repr(ours) == repr(theirs)
    assert equal(ours.parameters(), theirs.parameters())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert tt.Linear(5, 4, False, "meta", torch.float64).weight.is_meta
    assert repr(tt.Linear(5, 4, path="sparse")) == "Linear(in_features=5, out_features=4, bias=True, path='sparse')"


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("path", ["auto", "dense", "sparse"])
@pytest.mark.parametrize("shape", [(), (6,), (300,), (5, 7), (2, 3, 4)], ids=str)
def test_numbers_of_nn_linear(shape, path, bias):
    theirs, ours = pair(bias=bias, path=path)
    x = spikes(*shape, 70, rate=0.3)
    check_rounds_as(theirs, ours, x)


def test_gradients_against_float64():
    theirs, ours = pair(40, 20)
    x = torch.randn(300, 40) * spikes(300, 40)
    for path in ("dense", "sparse"):
        ours.path = path
        check_rounds_as(theirs, ours, x)


@pytest.mark.parametrize("shape", [(0, 70), (4, 0, 70)], ids=str)
def test_empty_batch(shape):
    theirs, ours = pair()
    assert equal(run(ours, torch.empty(shape)), run(theirs, torch.empty(shape)))


def test_no_inputs():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = tt.Linear(0, 3)
    assert torch.equal(ours(torch.empty(2, 0)), ours.bias.expand(2, 3))


def test_input_of_wrong_size_is_refused_as_by_nn_linear():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        pair()[1](torch.ones(3, 71))


def test_views_and_strides():
    theirs, ours = pair()
    x = torch.randn(70, 12, 5)
    for view in (x.movedim(0, -1), x.movedim(0, -1)[::2], torch.randn(5, 1, 70).expand(5, 4, 70)):
        check_rounds_as(theirs, ours, view)
    ours.weight = theirs.weight = nn.Parameter(torch.randn(70, 33).T)
    check_rounds_as(theirs, ours, torch.randn(2, 70))


def test_only_what_is_wanted_gets_a_gradient():
    _, ours = pair()
    ours.weight.requires_grad_(False)
    y = ours(spikes(300, 70))
    y.sum().backward()
    assert ours.weight.grad is None and torch.equal(ours.bias.grad, torch.full((33,), 300.0))
    ours.requires_grad_(False)
    assert not ours(spikes(3, 70)).requires_grad


def test_hooks_copies_pruning_and_parametrisation():
    theirs, ours = pair()
    x, seen = spikes(9, 70), []
    ours.register_forward_hook(lambda module, args, y: seen.append(y))
    ours(x)
    for other in (copy.deepcopy(ours), copy.copy(ours), pickle.loads(pickle.dumps(pair()[1]))):
        assert type(other) is tt.Linear and torch.equal(other(x), seen[0])
    for linear in (theirs, ours):
        prune.l1_unstructured(linear, "weight", 0.5)
        nn.utils.parametrizations.weight_norm(linear, "bias", dim=None)
    exact = nn.functional.linear(x.double(), theirs.weight.double(), theirs.bias.double())
    assert_as_right([ours(x)], [[theirs(x)]], [exact])
    assert (ours.weight == 0).float().mean() > 0.49


def test_a_copy_does_not_carry_the_workspace():
    _, ours = pair(256, 256)
    small = len(pickle.dumps(ours))
    ours(spikes(9, 256))
    assert ours._workspace is not None
    assert len(pickle.dumps(ours)) == small
    assert copy.deepcopy(ours)._workspace is None
    assert ours.double()._workspace is None


def test_workspace_is_bounded():
    """W packed for the product, and for the gradient of the input: nothing that grows with the batch."""
    _, ours = pair(64, 48)
    for rows in (1, 100, 1000):
        run(ours, spikes(rows, 64))
    buffers = [ours._workspace.forward._buffer, ours._workspace.backward._buffer]
    assert [b.numel() for b in buffers] == [64 * 48 + 16] * 2


def test_of_takes_over_in_place():
    linear = nn.Linear(70, 33).eval()
    linear.register_forward_hook(lambda module, args, y: y + 1)
    plain, weight = copy.deepcopy(linear), linear.weight
    assert tt.Linear.of(linear) is linear and type(linear) is tt.Linear and linear.weight is weight
    assert not linear.training
    check_rounds_as(plain, linear, spikes(4, 70))


def test_of_takes_over_a_model():
    class Own(nn.Linear):
        pass
    shared = nn.Linear(5, 5)
    model = nn.Sequential(shared, tt.snn.LIB(5), nn.Sequential(shared, Own(5, 5)), nn.MultiheadAttention(5, 1))
    names, parameters = list(model.state_dict()), list(model.parameters())
    assert tt.Linear.of(model) is model
    assert type(model[0]) is type(model[2][0]) is tt.Linear and model[0] is model[2][0]
    assert type(model[2][1]) is Own and type(model[3].out_proj) is not tt.Linear
    assert list(model.state_dict()) == names
    assert all(p is q for p, q in zip(model.parameters(), parameters, strict=True))


def test_errors():
    with fails(TypeError, "tt.Linear.of takes an nn.Linear or a module that holds some", "list"):
        tt.Linear.of([nn.Linear(2, 2)])
    for call in (lambda: tt.Linear(2, 2, path="torch"), lambda: setattr(tt.Linear(2, 2), "path", "torch")):
        with fails(ValueError, "tt.Linear: path='torch'", "'auto', 'dense', 'sparse'"):
            call()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 90), st.integers(1, 150),
       st.sampled_from([0.02, 0.2, 1.0]), st.integers(1, 3), st.integers(0, 99), st.permutations(range(3)))
def test_same_bits_on_every_way(T, B, K, N, rate, threads, seed, order):
    _, ours = pair(K, N)
    x = torch.randn(T, B, K) * spikes(T, B, K, rate=rate, seed=seed)
    strided = x.permute(order).contiguous().permute([order.index(i) for i in range(3)])
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        results = []
        for path in tt.Linear.PATHS:
            ours.path = path
            results.append(run(ours, x if path == "dense" else strided))
    finally:
        torch.set_num_threads(before)
    assert equal(results[0], results[1]) and equal(results[0], results[2])
    with torch.no_grad():
        assert torch.equal(torch.stack([ours(step) for step in x]), results[0][0])
        assert torch.equal(torch.stack([ours(one) for one in x[0]]), results[0][0][0])


def test_path_is_chosen_by_density():
    _, ours = pair(256, 128)
    assert ours.seen is None
    ours(spikes(1000, 256, rate=0.03))
    assert ours.seen.path == "sparse" and ours.seen.density == pytest.approx(0.03, abs=0.01)
    assert str(ours.seen).startswith("sparse, 3.") or str(ours.seen).startswith("sparse, 2.")
    ours(spikes(1000, 256, rate=0.7))
    assert ours.seen.path == "dense" and ours.seen.density == pytest.approx(0.7, abs=0.05)
    ours(spikes(1, 256))
    assert str(ours.seen) == "dense"


def test_lists_are_kept_where_they_are_smaller():
    _, ours = pair(256, 128)
    for rate, most in ((0.03, 0.1), (0.7, 1.01)):
        x, kept = spikes(1000, 256, rate=rate), []

        def pack(t, kept=kept):
            kept.append(t.numel() * t.element_size())
            return t
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            ours(x)
        assert sum(kept) - ours.weight.nbytes < most * x.nbytes


@pytest.mark.parametrize("threads", [1, 2])
def test_demo_learns_the_same_bits_dense_and_sparse(threads):
    """The demo's network, trained through surrogates of unbounded and gradients of any density."""
    torch.manual_seed(0)
    images, labels, network = torch.rand(64, 8, 8), torch.randint(10, (64,)), tt.Linear.of(digits.network())
    start, ends = copy.deepcopy(network.state_dict()), []
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        for path in ("dense", "sparse"):
            network.load_state_dict(start)
            for i in (0, 2, 4):
                network[i].path = path
            optimiser = torch.optim.Adam(network.parameters(), 1e-2)
            for _ in range(4):
                digits.learn(network, optimiser, images, labels)
            ends.append(copy.deepcopy(network.state_dict()))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(ends[0][n], ends[1][n]) for n in start)
    assert not torch.equal(ends[0]["0.weight"], start["0.weight"])


def test_scan_of_a_model_equals_stepping_it():
    torch.manual_seed(0)
    hard = tt.functional.heavi_erfc(1.0)
    neuron = tt.snn.LIB(64, threshold=0.2, spike_fn=hard)
    model = tt.Linear.of(nn.Sequential(nn.Linear(70, 64), neuron, nn.Linear(64, 9)))
    x = spikes(30, 8, 70)
    with torch.no_grad():
        scanned = tt.scan(model, x)
        tt.zero_states(model)
        assert torch.equal(scanned, torch.stack([model(step) for step in x]))
        tt.zero_states(model)
        assert torch.equal(scanned[:, 3:4], tt.scan(model, x[:, 3:4]))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
@pytest.mark.parametrize("where", ["weight", "input", "gradient"])
def test_not_finite_as_dense(where, value, bias):
    theirs, ours = pair(path="sparse", bias=bias)
    x, g = spikes(300, 70), torch.ones(300, 33)
    with torch.no_grad():
        {"weight": ours.weight, "input": x, "gradient": g}[where][3, 5] = value
        theirs.load_state_dict(ours.state_dict())
    found = []
    for linear in (ours, theirs):
        x = x.detach().requires_grad_()
        y = linear(x)
        found.append((y, *torch.autograd.grad(y, (x, *linear.parameters()), g)))
    for a, b in zip(*found, strict=True):
        assert torch.equal(a.isfinite(), b.isfinite()) and torch.equal(a.isnan(), b.isnan())
    assert str(ours.seen) == ("dense; the weight holds inf or NaN" if where == "weight" else "sparse")


def test_not_finite_weight_and_gradient_with_zeros():
    theirs, ours = pair()
    with torch.no_grad():
        ours.weight[3, 5] = torch.inf
        theirs.load_state_dict(ours.state_dict())
    x, g = torch.randn(700, 70, requires_grad=True), torch.randn(700, 33) * spikes(700, 33)
    (found,), (expected,) = (torch.autograd.grad(linear(x), x, g) for linear in (ours, theirs))
    assert torch.equal(found.isnan(), expected.isnan()) and found.isnan().any()
