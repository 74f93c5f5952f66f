"""States over a layer's life: created, saved, loaded, detached, zeroed, copied; TTcompile."""

import copy
import gc
import io
import weakref

import pytest
import torch
from torch import nn

import tracetorch as tt
from tests.stages.own.depression import Depression
from tests.support.compositions import Net, assert_close, inputs, stepped
from tracetorch import snn

X = inputs(6, 2, 3).float()


VERBS = ["on the module", "as functions"]


def call(verb, module, style, *args, **kwargs):
    """A state function as a method, or as a free function."""
    if style == "as functions":
        return getattr(tt, verb)(module, *args, **kwargs)
    return getattr(module, verb)(*args, **kwargs)


def test_states_are_none_until_used_and_after_zero_states():
    layer = snn.SLIB(3)
    assert layer.syn is None and layer.mem is None
    layer(X[0])
    assert layer.syn.shape == layer.mem.shape == (2, 3)
    layer.zero_states()
    assert layer.syn is None and layer.mem is None
    layer(X[0, :1])
    assert layer.mem.shape == (1, 3)


def test_states_start_at_their_init():
    layer = tt.compose(Depression)(3)
    y = layer(X[0])
    assert_close(y, X[0])
    assert (layer.resource < 1).all() and (layer.resource > 0).all()


def test_states_are_attributes_that_may_be_set():
    one, other = snn.LI(3), snn.LI(3)
    one(X[0])
    other.mem = one.mem
    assert_close(other(X[1]), one(X[1]), 0.0)


def test_states_are_never_in_the_state_dict():
    net = Net()
    before = list(net.state_dict())
    net(X[0])
    assert list(net.state_dict()) == before and not any("mem" in name for name in before)


def test_pure_steps_change_nothing():
    layer, twin = snn.DSRLITS(3, pos_rec_weight=0.5), snn.DSRLITS(3, pos_rec_weight=0.5)
    states, ys = {}, []
    for x in X:
        y, states = layer.step(x, states)
        ys.append(y)
    assert all(getattr(layer, name) is None for name in layer.pipeline.states)
    assert_close(torch.stack(ys), stepped(twin, X), 0.0)
    assert_close(states, {name: getattr(twin, name) for name in states}, 0.0)


def test_a_pure_step_starts_anew_what_is_missing():
    layer = snn.SLIB(3)
    y, states = layer.step(X[0])
    assert_close(layer.step(X[0], {"mem": None, "syn": torch.zeros(2, 3)})[0], y, 0.0)
    assert_close(layer.step(X[1], {"mem": states["mem"]})[0],
                 layer.step(X[1], {"mem": states["mem"], "syn": torch.zeros(2, 3)})[0], 0.0)


@pytest.mark.parametrize("style", VERBS)
def test_zero_states(style):
    net = Net()
    first = net(X[0])
    net(X[1])
    call("zero_states", net, style)
    assert net.layers[0].mem is None and net.layers[1].mem is None
    assert_close(net(X[0]), first, 0.0)


@pytest.mark.parametrize("style", VERBS)
def test_the_graph_flows_through_states_until_they_are_detached(style):
    net, x = Net(), X.clone().requires_grad_()
    net(x[0])
    net(x[1]).sum().backward(retain_graph=True)
    assert x.grad[0].any()
    values = tt.save_states(net)
    call("detach_states", net, style)
    assert_close(tt.save_states(net), values, 0.0)
    assert not any(s.requires_grad for layer in net.layers for _, s in layer.live_states())
    x.grad = None
    net(x[2]).sum().backward()
    assert not x.grad[:2].any() and x.grad[2].any()


def test_training_on_without_detaching_says_what_torch_says():
    net = Net()
    net(X[0]).sum().backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        net(X[1]).sum().backward()


@pytest.mark.parametrize("style", VERBS)
def test_save_and_load(style):
    net, other = Net(), Net()
    other.load_state_dict(net.state_dict())
    net(X[0])
    saved = call("save_states", net, style)
    assert list(saved) == ["layers.0.syn", "layers.0.mem", "layers.1.mem"]
    want = net(X[1])
    assert_close(saved["layers.0.syn"], other.layers[0].step(X[0])[1]["syn"], 0.0)      # copies, not the states
    call("load_states", other, style, saved)
    assert_close(other(X[1]), want, 0.0)
    assert call("save_states", Net(), style) == {}


def test_loaded_states_are_copies():
    layer = snn.LI(3)
    saved = {"mem": torch.ones(2, 3)}
    layer.load_states(saved)
    saved["mem"].fill_(7)
    assert layer.mem.eq(1).all()


def test_saved_states_are_copies():
    """A hand-written layer may write into its states."""
    layer = snn.LI(3)
    layer.mem = torch.ones(2, 3)
    saved = layer.save_states()
    layer.mem += 1
    assert saved["mem"].eq(1).all()


def test_saved_states_survive_a_file_read_without_code():
    net, file = Net(), io.BytesIO()
    net(X[0])
    torch.save(net.save_states(), file)
    file.seek(0)
    other = Net()
    other.load_states(torch.load(file, weights_only=True))
    assert_close(other.save_states(), net.save_states(), 0.0)


def test_a_load_that_is_not_strict_passes_over_names():
    net = Net()
    net.load_states({"layers.1.mem": torch.ones(2, 3), "layers.7.mem": torch.ones(2, 3)}, strict=False)
    assert net.layers[1].mem.eq(1).all() and net.layers[0].mem is None


def test_states_saved_before_any_step_load_as_none():
    net = Net()
    fresh = net.save_states()
    net(X[0])
    net.load_states(fresh, strict=False)
    assert len(net.save_states()) == 3
    net.load_states(fresh)
    assert net.save_states() == {}


def test_states_follow_a_change_of_batch_by_zeroing_first():
    layer = snn.LI(3)
    layer(X[0])
    layer.zero_states()
    layer.load_states({"mem": torch.zeros(5, 3)})
    assert layer(torch.zeros(5, 3)).shape == (5, 3)


def test_load_states_to_a_device():
    layer = snn.LI(3)
    layer.load_states({"mem": torch.zeros(2, 3)}, device="meta")
    assert layer.mem.device.type == "meta"
    layer.load_states({"mem": torch.zeros(2, 3)}, strict=True)
    assert layer.mem.device.type == "cpu"


def test_state_functions_reach_layers_inside_layers_and_shared_ones_once():
    shared = snn.LI(3)
    module = nn.ModuleDict({"a": nn.Sequential(shared), "b": shared})
    shared(X[0])
    assert list(tt.save_states(module)) == ["a.0.mem"]
    tt.zero_states(module)
    assert shared.mem is None


def test_a_layer_is_its_own_module():
    layer = snn.LI(3)
    layer(X[0])
    assert list(layer.save_states()) == list(tt.save_states(layer)) == ["mem"]


class Listed(tt.Model):
    """Layers in plain containers, one of them appended later."""

    def __init__(self):
        super().__init__()
        self.hidden, self.more = [], {"a": (snn.LIB(3),)}
        self.hidden.append(nn.Sequential(snn.SLIB(3)))
        self.out = snn.LI(3)

    def forward(self, x):
        return self.out(self.more["a"][0](self.hidden[0](x)))


@pytest.mark.filterwarnings("ignore:Listed")
@pytest.mark.parametrize("style", VERBS)
def test_layers_in_plain_containers_are_found(style):
    net = Listed()
    want = tt.scan(net, X)
    saved = call("save_states", net, style)
    assert list(saved) == ["hidden[0].0.syn", "hidden[0].0.mem", "more[a][0].mem", "out.mem"]
    call("zero_states", net, style)
    assert net.hidden[0][0].mem is None and net.more["a"][0].mem is None
    call("load_states", net, style, saved)
    assert_close(net.hidden[0][0].mem, saved["hidden[0].0.mem"], 0.0)
    net.zero_states()
    call("TTcompile", net, style)
    assert "beta" in dict(net.more["a"][0].named_buffers())
    y = tt.scan(net, X.clone().requires_grad_())
    assert_close(y, want)
    call("detach_states", net, style)
    assert not any(state.requires_grad for state in net.save_states().values())


def test_layers_in_plain_containers_of_inner_modules_are_found():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [snn.LI(3)]

        def forward(self, x):
            return self.layers[0](x)

    net = nn.Sequential(Block())
    net(X[0])
    with pytest.warns(UserWarning, match=r"Block.layers holds layers in a plain list") as warned:
        assert list(tt.save_states(net)) == ["0.layers[0].mem"]
    assert warned[0].filename == __file__
    with pytest.warns(UserWarning, match=r"Block.layers"):
        tt.zero_states(net)
    assert net[0].layers[0].mem is None


@pytest.mark.filterwarnings("ignore:Listed")
def test_states_that_0_19_saved_repeat():
    """Its `save_states` walks the attributes of every module, `_modules` among them."""
    net, states = Listed(), {name: torch.rand(2, 3) for name in ("0", "1", "2", "3")}
    net.hidden = [nn.Sequential(snn.SLIB(3))]
    net.more = {}
    net.load_states({"out.mem": states["0"], "._modules[out].mem": states["1"],
                     ".hidden[0].0.syn": states["2"], ".hidden[0]._modules[0].syn": states["1"],
                     ".hidden[0]._modules[0].mem": states["3"]})
    inner = net.hidden[0][0]
    assert_close([net.out.mem, inner.syn, inner.mem], [states["0"], states["2"], states["3"]], 0.0)
    with pytest.raises(ValueError, match=r"unknown out.syn"):
        net.load_states({"out.mem": states["0"], "._modules[out].syn": states["1"]})


class Old(snn.Layer):
    """A layer written for traceTorch 0.19."""

    def __init__(self, num_neurons):
        super().__init__(num_neurons)
        self._initialize_state(state_name="mem")
        self._register_decay("beta", 0.5, 1, True)
        self.zeroed = []

    def _zero_state(self, state_name):
        self.zeroed.append(state_name)
        super()._zero_state(state_name=state_name)

    def forward(self, x):
        self._ensure_states(reference_tensor=x)
        self.mem = self.beta * self.mem + x
        return self.mem


def test_layers_written_for_0_19():
    with pytest.warns(DeprecationWarning, match=r"StateHolder._initialize_state: state_name= is called name="):
        layer = Old(3)
    with pytest.warns(DeprecationWarning, match=r"_ensure_states: reference_tensor= is called x="):
        assert_close(layer(X[0]), X[0], 0.0)
    layer.mem = layer.mem * layer.beta
    layer._detach_state(state_name="mem")
    assert not layer.mem.requires_grad
    tt.zero_states(nn.Sequential(layer))
    assert layer.mem is None and layer.zeroed == ["mem"]
    layer._ensure_state(state_name="mem", reference_tensor=X[0])
    assert_close(layer.mem, torch.zeros(2, 3), 0.0)
    with pytest.raises(TypeError, match=r"_ensure_states: got x= and reference_tensor=, its name in traceTorch 0.19"):
        layer._ensure_states(x=X[0], reference_tensor=X[0])


def test_a_copy_has_states_of_its_own():
    layer = snn.LI(3)
    layer(X[0])
    twin = copy.deepcopy(layer)
    assert_close(twin.mem, layer.mem, 0.0)
    twin(X[1])
    assert not torch.equal(twin.mem, layer.mem)
    assert layer.mem.requires_grad and copy.deepcopy(layer).mem.requires_grad is False


def test_a_model_survives_a_copy_in_the_middle_of_training():
    net = Net()
    optimizer = torch.optim.Adam(net.parameters())
    net(X[0]).sum().backward()
    optimizer.step()
    twin = copy.deepcopy(net)
    assert all(a is not b for a, b in zip(net.parameters(), twin.parameters(), strict=True))
    net.detach_states()
    assert_close(twin(X[1]), net(X[1]), 0.0)


def test_zeroed_states_are_freed():
    layer = snn.LI(3)
    layer(X[0])
    held = weakref.ref(layer.mem)
    layer.zero_states()
    gc.collect()
    assert held() is None


@pytest.mark.parametrize("style", VERBS)
def test_compile_and_decompile_a_model(style):
    net = Net()
    names, want = list(net.state_dict()), tt.scan(net, X).detach()
    call("TTcompile", net, style)
    call("TTcompile", net, style)
    assert "layers.0.threshold" in net.state_dict() and "layers.0.raw_threshold" not in net.state_dict()
    net.zero_states()
    assert_close(tt.scan(net, X).detach(), want)
    call("TTdecompile", net, style)
    call("TTdecompile", net, style)
    assert list(net.state_dict()) == names
    net.zero_states()
    assert_close(tt.scan(net, X).detach(), want)


def test_decompiling_gives_back_parameters_and_buffers_and_frozen_ones():
    layer = snn.LIB(3, learn_beta=False)
    layer.raw_bias.requires_grad_(False)
    layer.TTcompile()
    layer.TTdecompile()
    assert dict(layer.named_buffers()).keys() == {"raw_beta"}
    assert layer.raw_threshold.requires_grad and not layer.raw_bias.requires_grad


def test_a_compiled_layer_may_be_edited_moved_and_pickled():
    layer = snn.LIB(3)
    layer.TTcompile()
    layer.beta.fill_(0.25)
    layer = copy.deepcopy(layer).double()
    assert layer.beta.dtype == torch.float64
    layer.TTdecompile()
    assert layer.beta.tolist() == pytest.approx([0.25] * 3)


@pytest.mark.parametrize("make", [
    lambda: tt.snn.DSRLITS(4), lambda: tt.snn.LIB(4, quant_fn=tt.functional.stochastic_round_ste(1.0)),
    lambda: tt.compose(tt.Adaptive, tt.Binary)(4, dim=-2), lambda: tt.Feedback(tt.snn.SLIB(4), nn.Linear(4, 4)),
    lambda: tt.Feedback(tt.snn.SLIB(4), nn.Sequential(nn.Linear(4, 4))),
], ids=["many", "random", "another dim", "feedback", "another path"])
def test_initial_states_are_what_a_first_step_starts_from(make):
    layer = make()
    x = torch.rand(2, 4, 4)
    torch.manual_seed(0)
    given = layer.initial_states(x)
    assert tt.save_states(layer) == {}
    y, after = layer.step(x, given)
    assert given.keys() == after.keys() and all(given[k].shape == after[k].shape for k in after)
    torch.manual_seed(0)
    want, left = layer.step(x)
    assert torch.equal(y, want) and all(torch.equal(after[k], left[k]) for k in left)


def test_initial_states_of_a_layer_without_a_step():
    class Own(tt.Layer):
        def forward(self, x):
            return x

    with pytest.raises(TypeError, match="Own: initial_states needs a `step`"):
        Own(3).initial_states(torch.zeros(3))
