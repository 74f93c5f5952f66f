"""scan: folding time into the batch, time_dim, states and gradients from call to call."""

import gc
import threading

import pytest
import torch
from torch import nn

import tracetorch as tt
from tests.support.compositions import assert_close, inputs, stepped
from tracetorch import snn

X = inputs(6, 2, 3)


def doubled(*parts):
    return nn.Sequential(*parts).double()


def twins(make):
    """The same module twice."""
    torch.manual_seed(1)
    one = make()
    torch.manual_seed(1)
    return one, make()


def results(module, y):
    """Output, states, gradients of a fixed loss on output."""
    loss = (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum()
    grads = torch.autograd.grad(loss, list(module.parameters()), allow_unused=True)
    return [y, *tt.save_states(module).values(), *(g for g in grads if g is not None)]


class Branches(tt.Model):
    """Skip connections, a layer in a list, a tuple inside."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([snn.SLIB(3), snn.LIT(3)])
        self.mix = nn.Linear(3, 3)

    def forward(self, x):
        a = self.layers[0](x)
        return self.layers[1](self.mix(a) + x) + a


class Convolutions(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.spikes = nn.Conv2d(1, 3, 3, padding=1), snn.LIB(3, dim=-3)
        self.pool, self.read = nn.AdaptiveAvgPool2d(1), nn.Linear(3, 2)
        self.out = snn.LI(2)

    def forward(self, x):
        return self.out(self.read(self.pool(self.spikes(self.conv(x))).flatten(1)))


class Unused(nn.Module):
    """Has a layer that its forward leaves out."""

    def __init__(self):
        super().__init__()
        self.used, self.spare = snn.LI(3), snn.LI(3)

    def forward(self, x):
        return self.used(x)


MODULES = {
    "sequential": (lambda: doubled(nn.Linear(3, 4), snn.DSLIB(4), nn.Linear(4, 2), snn.LI(2)), X),
    "norms": (lambda: doubled(nn.LayerNorm(3), snn.LIB(3), nn.BatchNorm1d(3)).eval(), X),
    "skip connections": (lambda: Branches().double(), X),
    "convolutions": (lambda: Convolutions().double(), inputs(4, 2, 1, 5, 5)),
    "a nested module": (lambda: doubled(Branches(), nn.Sequential(nn.Linear(3, 3), snn.RLIB(3, rec_weight=0.5))), X),
    "no layer": (lambda: doubled(nn.Linear(3, 3)), X),
    "an unused layer": (lambda: Unused().double(), X),
    "one element in the batch": (lambda: doubled(nn.Linear(3, 3), snn.LIB(3)), X[:, :1]),
    "one step": (lambda: doubled(nn.Linear(3, 3), snn.LIB(3)), X[:1]),
    "an empty batch": (lambda: doubled(nn.Linear(3, 3), snn.LIB(3)), X[:, :0]),
    "many dimensions": (lambda: doubled(nn.Linear(3, 3), snn.LIB(3), snn.LIB(4, dim=2)), inputs(5, 2, 2, 4, 3)),
}


@pytest.mark.parametrize("fold", [True, False], ids=["folded", "stepped"])
@pytest.mark.parametrize("case", MODULES)
def test_a_module_scanned_equals_the_module_stepped(case, fold, backend):
    make, x = MODULES[case]
    one, other = twins(make)
    with tt.backend("eager"):
        want = results(one, stepped(one, x))
    with tt.backend(backend):
        assert_close(results(other, tt.scan(other, x, fold=fold)), want)


def test_folding_calls_a_module_once_on_time_times_batch():
    calls = []

    class Watched(nn.Linear):
        def forward(self, x):
            calls.append(x.shape)
            return super().forward(x)

    module = nn.Sequential(Watched(3, 3), snn.LIB(3)).double()
    tt.scan(module, X, check=False)
    assert calls == [(12, 3)]
    tt.scan(module, X, fold=False)
    assert calls == [(12, 3)] + [(2, 3)] * 6


def test_check_passes_what_folds_and_changes_nothing():
    module, other = twins(lambda: nn.Sequential(nn.Linear(3, 3), snn.LIB(3), nn.Dropout(0.0)).double())
    rng = torch.get_rng_state()
    y = tt.scan(module, X, check=True)
    assert torch.equal(torch.get_rng_state(), rng)
    assert_close(results(module, y), results(other, tt.scan(other, X)), 0.0)


def test_check_starts_from_the_states_of_the_module():
    module = nn.Sequential(snn.LI(3), snn.LIB(3)).double()
    tt.scan(module, X)
    tt.scan(module, X, check=True)


def test_a_layer_used_twice_works_unfolded():
    shared = snn.LI(3)
    module = nn.Sequential(shared, nn.Tanh(), shared).double()
    y = tt.scan(module, X, fold=False)
    tt.zero_states(module)
    assert_close(y, stepped(module, X))


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.other = snn.LIB(3), snn.LI(3)

    def forward(self, x):
        spikes = self.one(x)
        return {"spikes": spikes, "rest": (self.other(spikes), "a word")}


@pytest.mark.parametrize("fold", [True, False])
def test_outputs_may_be_nested(fold):
    module = Pair().double()
    y = tt.scan(module, X.movedim(0, 1), time_dim=1, fold=fold)
    assert y["spikes"].shape == y["rest"][0].shape == (2, 6, 3)
    tt.zero_states(module)
    assert_close(y["spikes"].movedim(1, 0), torch.stack([module(x)["spikes"] for x in X]))


def test_dropout_and_batch_norm_cover_all_of_time():
    module = nn.Sequential(snn.LI(3), nn.BatchNorm1d(3)).double()
    y = tt.scan(module, X)
    assert y.mean((0, 1)).abs().max() < 1e-9 and module[1].num_batches_tracked == 1


def test_a_scan_inside_a_plain_module_that_is_not_scanned():
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = snn.LI(3)

        def forward(self, x):
            return tt.scan(self.layer, x)[-1]

    module = Reader().double()
    assert_close(module(X), stepped(snn.LI(3).double(), X)[-1])


def test_threads_do_not_see_each_others_fold():
    """While one thread is in the middle of a folded forward, another one steps."""
    inside, done = threading.Event(), threading.Event()

    class Waits(nn.Module):
        def forward(self, x):
            inside.set()
            assert done.wait(20)
            return x

    slow, quick = nn.Sequential(Waits(), snn.LI(3)).double(), snn.LI(3).double()
    found = []
    thread = threading.Thread(target=lambda: found.append(tt.scan(slow, X)))
    thread.start()
    assert inside.wait(20)
    y = stepped(quick, X)
    done.set()
    thread.join()
    assert_close(found[0], y)


@pytest.mark.parametrize("shape, dim", [((6, 3), -1), ((6, 3), 0), ((6, 3, 4), 0), ((6, 1, 3, 2, 2), -3), ((1, 3), -1)])
def test_a_layer_needs_no_batch(shape, dim, backend):
    x = inputs(*shape)
    one, other = snn.DSRLITS(3, dim=dim, pos_rec_weight=0.5), snn.DSRLITS(3, dim=dim, pos_rec_weight=0.5)
    with tt.backend(backend):
        assert_close(tt.scan(one.double(), x), stepped(other.double(), x))


@pytest.mark.parametrize("at", [0, 1, 2, -1, -2, -3])
def test_time_dim(at, backend):
    model, other = twins(lambda: nn.Sequential(nn.Linear(3, 3), snn.LIB(3)).double())
    with tt.backend(backend):
        want = tt.scan(model, X)
        y, recordings = tt.scan(other, X.movedim(0, at), time_dim=at, record="mem")
    assert_close(y, want.movedim(0, at))
    assert recordings["1.mem"].shape == y.shape


def test_time_at_the_end_when_the_output_has_fewer_dimensions():
    """[B, C, H, W, T] -> [B, classes, T]"""
    module, x = Convolutions().double(), inputs(4, 2, 1, 5, 5)
    y = tt.scan(module, x.movedim(0, -1), time_dim=-1)
    tt.zero_states(module)
    assert y.shape == (2, 2, 4)
    assert_close(y, tt.scan(module, x).movedim(0, -1))


def test_gradients_flow_from_scan_to_scan_to_step(backend):
    grads = []
    for run in (stepped, lambda m, x: torch.cat([tt.scan(m, x[:2]), tt.scan(m, x[2:5]), m(x[5])[None]])):
        module, _ = twins(lambda: nn.Sequential(nn.Linear(3, 3), snn.SLIB(3), snn.LI(3)).double())
        x = X.clone().requires_grad_()
        with tt.backend(backend):
            run(module, x)[-1].sum().backward()
        assert x.grad[0].any()
        grads.append([x.grad, *(p.grad for p in module.parameters())])
    assert_close(grads[1], grads[0])


def test_truncated_backpropagation(backend):
    """Detached states carry values and no gradient; each piece is a graph of its own."""
    module, x = nn.Sequential(nn.Linear(3, 3), snn.LIB(3)).double(), X.clone().requires_grad_()
    with tt.backend(backend):
        for piece in x.split(2):
            tt.scan(module, piece).sum().backward()
            tt.detach_states(module)


def test_a_backward_after_training_moved_on_uses_the_numbers_of_its_forward(backend):
    """Two scans, then both backwards: the second scan must not have changed what the first one kept."""
    layer, x = snn.LIB(3).double(), X.clone().requires_grad_()
    with tt.backend(backend):
        y = tt.scan(layer, x)
        want = torch.autograd.grad(y.sum(), x, retain_graph=True)[0]
        tt.scan(layer, 2 * X)
    assert_close(torch.autograd.grad(y.sum(), x)[0], want, 0.0)


def test_scan_writes_neither_into_its_input_nor_into_states(backend):
    layer, x = snn.DSLITS(3).double(), X.clone()
    with tt.backend(backend):
        tt.scan(layer, x)
        kept = {name: getattr(layer, name) for name in layer.pipeline.states}
        values = {name: s.clone() for name, s in kept.items()}
        tt.scan(layer, x)
    assert torch.equal(x, X)
    assert_close(kept, values, 0.0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_stays_with_its_neuron(bad, backend):
    x = X.clone()
    x[2, 0, 1] = bad
    layer = snn.DSLIT(3).double()
    with tt.backend("eager"):
        want = stepped(snn.DSLIT(3).double(), x)
    with tt.backend(backend):
        y = tt.scan(layer, x)
    torch.testing.assert_close(y, want, rtol=0, atol=1e-12, equal_nan=True)
    clean = torch.ones_like(y, dtype=torch.bool)
    clean[2:, 0, 1] = False
    assert torch.isfinite(y[clean]).all()


class Asks(tt.snn.Layer):
    """Notes which backend is wanted at every step."""

    def __init__(self):
        super().__init__(3)
        self.asked = []

    def forward(self, x):
        self.asked.append(tt.backends.requested())
        return x


def test_the_backend_of_a_call_goes_before_that_of_the_block():
    layer = Asks()
    with tt.backend("triton"):
        tt.scan(layer, X[:1])
        tt.scan(layer, X[:1], backend="eager")
        with tt.backend("cpp"):
            tt.scan(layer, X[:1])
        tt.scan(layer, X[:1])
    tt.scan(layer, X[:1])
    assert layer.asked == ["triton", "eager", "cpp", "triton", "auto"]


def test_a_backend_that_is_named_and_can_not_run_raises():
    layer = snn.LI(3)
    with pytest.raises(RuntimeError, match=r"backend='triton' can't run LI: .*Use backend='auto' or 'eager'"):
        tt.scan(layer, X.float(), backend="triton")
    assert layer.mem is None


def test_a_backend_set_for_a_block_ends_with_it_also_after_an_error():
    with pytest.raises(ZeroDivisionError), tt.backend("eager"):
        assert tt.backends.requested() == "eager"
        1 / 0  # noqa: B018
    assert tt.backends.requested() == "auto"


def test_an_eager_step_leaves_nothing_for_the_garbage_collector():
    layer, x = tt.snn.DSRLITS(3), torch.randn(4, 2, 3, requires_grad=True)
    with tt.backend("eager"):
        tt.scan(layer, x)
        gc.collect()
        tt.scan(layer, x)
    layer.zero_states()
    assert gc.collect() == 0


def test_forward_hooks_run_as_the_docs_say():
    seen = []

    def hook(module, args, out):
        seen.append(tuple(args[0].shape))
    layer, x = snn.LIB(3), torch.rand(5, 2, 3)
    layer.register_forward_hook(hook)
    tt.scan(layer, x)
    assert seen == []
    model = nn.Sequential(nn.Linear(3, 3), layer)
    for fold, shapes in ((True, [(10, 3)]), (False, [(2, 3)] * 5)):
        tt.zero_states(model)
        seen.clear()
        tt.scan(model, x, fold=fold, check=False)
        assert seen == shapes
