"""Hand-written layers: the protocol of tt.Layer and tt.snn.Layer, stepped, scanned and managed like any other."""

import copy
import pickle

import pytest
import torch
from torch import nn

import tracetorch as tt
from tests.support.compositions import HARD, assert_close, inputs, stepped
from tracetorch import snn

X = inputs(6, 2, 3).float()


class Handmade(tt.snn.Layer):
    """LIB written by hand, with every part of the protocol."""

    def __init__(self, num_neurons, beta=0.9, threshold=1.0, bias=0.0, scale=1.0, dim=-1, rank=1, learn=True):
        super().__init__(num_neurons, dim)
        self._initialize_state("mem")
        self._register_decay("beta", beta, rank, learn)
        self._register_threshold("threshold", threshold, rank, learn)
        self._register_bias("bias", bias, rank, learn)
        self._register_parameter("scale", scale, rank, learn, torch.log, torch.log, torch.exp)

    def forward(self, x):
        self._ensure_states(x)
        x, mem = self._to_working_dim(x), self._to_working_dim(self.mem)
        mem = self.beta * mem + x
        spike = tt.functional.sigmoid4x(mem - self.threshold + self.bias)
        self.mem = self._from_working_dim(mem - spike * self.threshold)
        return self._from_working_dim(self.scale * spike)


class Counter(tt.Layer):
    """The least a layer can be: one state, no parameter."""

    def __init__(self, num_neurons):
        super().__init__(num_neurons)
        self._initialize_state("steps")

    def forward(self, x):
        self._ensure_states(x)
        self.steps = self.steps + 1
        return x * self.steps


class Handmade2(Handmade):
    """One more state."""

    def __init__(self, num_neurons, **options):
        super().__init__(num_neurons, **options)
        self._initialize_state("last")

    def forward(self, x):
        self._ensure_states(x)
        self.last = super().forward(x)
        return self.last


def test_it_is_a_layer():
    assert issubclass(snn.Layer, tt.Layer) and issubclass(tt.Layer, nn.Module)
    layer = Handmade(3)
    assert (layer.num_neurons, layer.dim, layer.mem) == (3, -1, None)
    assert set(dict(layer.named_parameters())) == {"raw_beta", "raw_threshold", "raw_bias", "raw_scale"}
    assert repr(Handmade(3, dim=1)) == "Handmade(3, dim=1)"


@pytest.mark.parametrize("dim, shape", [(-1, (5, 2, 3)), (0, (5, 3, 2)), (-2, (5, 3, 2)), (1, (5, 2, 3, 2, 2)),
                                        (0, (5, 3))])
def test_it_equals_the_composition(dim, shape):
    x = inputs(*shape).requires_grad_()
    values = {"beta": torch.tensor([0.3, 0.5, 0.8]), "threshold": 0.7, "bias": 0.1, "dim": dim}
    found = []
    for layer in (Handmade(3, **values).double(), snn.LIB(3, **values).double()):
        y = tt.scan(layer, x)
        grads = torch.autograd.grad(y.square().sum(), [x, layer.raw_beta, layer.raw_threshold, layer.raw_bias])
        found.append([y, layer.mem, *grads])
    assert_close(found[0], found[1])


def test_values_come_back_through_their_constraints():
    layer = Handmade(3, beta=0.25, threshold=2.0, bias=-0.5, scale=3.0)
    for name, value in {"beta": 0.25, "threshold": 2.0, "bias": -0.5, "scale": 3.0}.items():
        assert getattr(layer, name).tolist() == pytest.approx([value] * 3, rel=1e-5)
        assert not torch.allclose(getattr(layer, f"raw_{name}"), getattr(layer, name))


@pytest.mark.parametrize("rank, shape", [(0, ()), (1, (3,))])
def test_ranks_and_buffers(rank, shape):
    layer = Handmade(3, rank=rank, learn=False)
    assert all(b.shape == shape for b in layer.buffers()) and not list(layer.parameters())
    assert Handmade(3, beta=torch.tensor(0.5), rank=1).raw_beta.shape == ()


def test_missing_attributes_are_still_missing():
    with pytest.raises(AttributeError, match="no attribute 'gamma'"):
        Handmade(3).gamma  # noqa: B018


@pytest.mark.parametrize("make", [Handmade, Counter, Handmade2])
def test_scanned_alone_and_in_a_module(make, backend):
    with tt.backend(backend):
        x = X.double()
        assert_close(tt.scan(make(3).double(), x), stepped(make(3).double(), x))
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(3, 3), make(3), snn.LIB(3)).double()
        want = stepped(module, x)
        final = tt.save_states(module)
        tt.zero_states(module)
        for fold in (True, False):
            assert_close(tt.scan(module, x, fold=fold), want)
            assert_close(tt.save_states(module), final)
            tt.zero_states(module)
        assert_close(torch.cat([tt.scan(module, x[:2]), tt.scan(module, x[2:])]), want)


def test_recorded():
    _, recordings = tt.scan(nn.Sequential(Counter(3), Handmade2(3)), X, record=("steps", "1.last"))
    assert set(recordings) == {"0.steps", "1.last"}
    assert recordings["0.steps"][:, 0, 0].tolist() == [1, 2, 3, 4, 5, 6]


def test_managed_like_any_other():
    layer, other = Handmade2(3), Handmade2(3)
    layer(X[0]).sum().backward()
    twin, pickled = copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))
    saved = layer.save_states()
    assert set(saved) == {"mem", "last"}
    layer.detach_states()
    other.load_states(saved)
    want = layer(X[1])
    for copied in (twin, pickled, other):
        assert_close(copied(X[1]), want, 0.0)
    layer.double()
    assert layer.mem.dtype == torch.float64
    layer.zero_states()
    assert layer.mem is None and layer.last is None


def test_compiled_and_decompiled():
    layer = Handmade(3, scale=2.0)
    want = stepped(layer, X).detach()
    layer.TTcompile()
    assert set(layer.state_dict()) == {"beta", "threshold", "bias", "scale"}
    layer.zero_states()
    assert_close(stepped(layer, X), want)
    layer.TTdecompile()
    layer.zero_states()
    assert_close(stepped(layer, X).detach(), want)
    assert set(layer.state_dict()) == {"raw_beta", "raw_threshold", "raw_bias", "raw_scale"}


def test_it_trains():
    layer, target = Handmade(3), tt.scan(Handmade(3, beta=0.4, threshold=0.6), X).detach()
    optimizer, losses = torch.optim.Adam(layer.parameters(), lr=0.05), []
    for _ in range(15):
        layer.zero_states()
        loss = (tt.scan(layer, X) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_wrong_batches_are_told():
    layer = Handmade(3)
    layer(X[0])
    with pytest.raises(ValueError, match=r"Handmade: state 'mem' holds shape \[2, 3\].*\[4, 3\].*zero_states"):
        layer(torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"Handmade: dim=2 is out of range for one step of 2 dimensions"):
        Handmade(3, dim=2)(X[0])


def test_a_layer_of_layers_is_scanned_by_stepping_and_all_its_states_managed():
    class Column(tt.snn.Layer):
        def __init__(self):
            super().__init__(3)
            self.first, self.second = snn.LIB(3, spike_fn=HARD), Counter(3)

        def forward(self, x):
            return self.second(self.first(x))

    module = nn.Sequential(Column(), snn.LI(3))
    want = stepped(module, X)
    final = tt.save_states(module)
    assert set(final) == {"0.first.mem", "0.second.steps", "1.mem"}
    tt.zero_states(module)
    assert_close(tt.scan(module, X), want)
    assert_close(tt.save_states(module), final)


def test_checkpoints_of_other_modules_load():
    """A layer's parameters are plain entries of a state_dict."""
    one, other = Handmade(3, beta=0.3), Handmade(3)
    other.load_state_dict(one.state_dict())
    assert_close(stepped(other, X), stepped(one, X), 0.0)
