"""Values of parameters are kept between calls, and never used after what they come from has changed."""

import copy
import gc
import weakref

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

import tracetorch as tt
from tracetorch.backends.values import Values

X = torch.rand(4, 2, 3, generator=torch.Generator().manual_seed(0))
NEW = torch.tensor([-1.0, 0.3, 2.0])


def swapped(p):
    p.before = p.data       # not freed
    p.data = NEW.clone()


def written(p):
    p.data.copy_(NEW)


def through_numpy(p):
    p.detach().numpy()[:] = NEW.numpy()


def one_element(p):
    p.data.view(-1)[1] = 0.25


def same_storage_expanded(p):
    p.data = p.data[:1].expand(3)


def same_storage_negated(p):
    p.data = torch._neg_view(p.data)


def stepped_by_an_optimizer(p):
    p.grad = torch.ones_like(p)
    torch.optim.SGD([p], 0.5).step()


def resized(p):
    values = p.data.clone() + 1
    p.data.untyped_storage().resize_(0)
    p.data.untyped_storage().resize_(12)
    p.data.copy_(values)


CHANGES = [swapped, written, through_numpy, one_element, same_storage_expanded, same_storage_negated,
           stepped_by_an_optimizer, resized]


def expected(layer, x):
    """In float64, stepped, by a layer that has never run."""
    fresh = copy.deepcopy(layer).double()
    fresh.zero_states()
    return tt.scan(fresh, x.double(), backend="eager")


@pytest.mark.parametrize("kind", ["step", "scan", "trained"])
@pytest.mark.parametrize("name", ["raw_beta", "raw_threshold", "raw_bias"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_of_what_is_stored_is_seen(change, name, kind):
    layer = tt.snn.LIB(3, *torch.tensor([[0.2, 0.5, 0.8], [0.7, 1.0, 1.3], [0.1, 0.2, 0.3]]))

    def run():
        layer.zero_states()
        with torch.set_grad_enabled(kind == "trained"):
            return torch.stack([layer(x) for x in X]) if kind == "step" else tt.scan(layer, X)

    before = [run() for _ in range(3)][-1]      # the values are kept by now
    change(getattr(layer, name))
    after = run()
    torch.testing.assert_close(after.double(), expected(layer, X), atol=1e-6, rtol=1e-5)
    assert not torch.equal(after, before)


def test_values_are_computed_once_while_nothing_changes():
    layer, plan = tt.snn.LIB(3), None
    with torch.no_grad():
        for _ in range(3):
            layer(X[0])
        (plan,) = layer._plans.values()
        first = plan._values(layer._stored())
        assert plan._values(layer._stored()) is first
        layer.raw_beta.data[0] += 0.5
        second = plan._values(layer._stored())
    assert second is not first
    torch.testing.assert_close(second[0], torch.sigmoid(layer.raw_beta.detach()), atol=0, rtol=0)


def test_what_is_handed_on_is_the_tensor_itself():
    same = tt.snn.LIB(3)
    tt.scan(same, X)
    (plan,) = same._plans.values()
    values = Values([torch.sigmoid, None], plan.program.same)
    led, handed = torch.zeros(3), torch.ones(3)
    for _ in range(3):
        assert values([led, handed])[1] is handed


def test_another_tensor_in_the_same_place_is_not_taken_for_the_first():
    layer = tt.snn.LIB(3)
    with torch.no_grad():
        for _ in range(3):
            layer(X[0])
        layer.raw_beta = nn.Parameter(NEW.clone())
        layer.zero_states()
        got = tt.scan(layer, X)
    torch.testing.assert_close(got.double(), expected(layer, X), atol=1e-6, rtol=1e-5)


class Halved(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        y = super().__torch_function__(function, types, args, kwargs or {})
        return y.as_subclass(torch.Tensor) / 2 if function is torch.sigmoid else y


def test_the_same_memory_of_another_class_is_looked_at_again():
    layer = tt.snn.LIB(3, beta=0.5, learn_beta=False)
    with torch.no_grad():
        for _ in range(3):
            layer(X[0])
        layer.raw_beta = layer.raw_beta.as_subclass(Halved)
        layer.zero_states()
        got = tt.scan(layer, X)
        halved = tt.scan(tt.snn.LIB(3, beta=0.25), X)
    torch.testing.assert_close(got, halved)


def test_values_kept_in_inference_mode_serve_training():
    layer = tt.snn.LIB(3)
    with torch.inference_mode():
        for _ in range(3):
            tt.scan(layer, X)
    layer.zero_states()
    tt.scan(layer, X).sum().backward()
    reference = copy.deepcopy(layer).double()
    reference.zero_grad()
    reference.zero_states()
    tt.scan(reference, X.double(), backend="eager").sum().backward()
    for p, q in zip(layer.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(p.grad.double(), q.grad, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("calls", [1, 2, 3])
def test_values_of_a_scan_are_its_own(calls):
    layer = tt.snn.RLIB(4096, rec_weight=0.5)       # a weight that is stored as it is
    x = torch.rand(12, 1, 4096)
    for _ in range(calls):
        layer.zero_states()
        y = tt.scan(layer, x)
    want = torch.autograd.grad(y.sum(), layer.raw_beta, retain_graph=True)[0]
    layer.raw_rec_weight.data = torch.full_like(layer.raw_rec_weight, float("nan"))     # what was stored is freed
    junk = [torch.full((4096,), float("nan")) for _ in range(50)]
    got = torch.autograd.grad(y.sum(), layer.raw_beta)[0]
    assert torch.equal(got, want), len(junk)


def test_a_computed_parameter_is_not_kept():
    layer, x = tt.snn.LIB(3), torch.rand(4, 2, 3)
    prune_like = layer.raw_beta
    del layer._parameters["raw_beta"]
    layer.raw_beta = 2.0 * prune_like
    computed = weakref.ref(layer.raw_beta)
    for _ in range(3):
        tt.scan(layer, x)
        layer.zero_states()
    layer.raw_beta = prune_like.detach()
    gc.collect()
    assert computed() is None


def test_a_copy_of_a_parametrized_layer_that_has_run():
    class Half(nn.Module):
        def forward(self, t):
            return 0.5 * t

    layer = tt.snn.LIB(3)
    parametrize.register_parametrization(layer, "raw_beta", Half())
    with torch.no_grad():
        tt.scan(layer, X)
    twin = copy.deepcopy(layer)
    for one in (layer, twin):
        one.zero_states()
    assert not twin._plans and torch.equal(tt.scan(twin, X), tt.scan(layer, X))
