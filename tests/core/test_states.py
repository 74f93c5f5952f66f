"""States over a layer's life: created, moved, saved, loaded, detached, zeroed; dtypes, random numbers."""

import copy
import gc
import io
import weakref

import pytest
import torch
from torch import nn

import tracetorch as tt
from tests.compositions import assert_close, inputs, stepped
from tests.traits.depression import Depression
from tests.traits.noise import Noise
from tracetorch import snn

X = inputs(6, 2, 3).float()


class Net(tt.Model):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([snn.SLIB(3), snn.LI(3)])
        self.between = nn.Linear(3, 3)

    def forward(self, x):
        return self.layers[1](self.between(self.layers[0](x)))


VERBS = ["on the module", "as functions"]


def call(verb, module, style, *args, **kwargs):
    """A state function as a method, or as a free function."""
    if style == "as functions":
        return getattr(tt, verb)(module, *args, **kwargs)
    return getattr(module, verb)(*args, **kwargs)


# -- created when used -----------------------------------------------------------------


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


# -- zero, detach, save, load ----------------------------------------------------------


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
    assert not any(s.requires_grad for layer in net.layers for _, s in layer._live_states())
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


# -- moved and cast --------------------------------------------------------------------


@pytest.mark.parametrize("move", [lambda m: m.to(torch.float64), lambda m: m.double(),
                                  lambda m: m.to("cpu", torch.float64)], ids=["to", "double", "to device and dtype"])
def test_states_move_with_the_layer(move):
    net = Net()
    net(X[0])
    want = net.save_states()
    move(net)
    assert all(s.dtype == torch.float64 for s in net.save_states().values())
    assert_close({k: v.float() for k, v in net.save_states().items()}, want, 0.0)
    assert net(X[1].double()).dtype == torch.float64


def test_states_move_to_a_device():
    layer = tt.compose(tt.Binary, Noise)(3)
    layer(X[0])
    layer.to("meta")
    assert layer.mem.device.type == layer.rng.device.type == "meta"
    assert layer.rng.dtype == torch.int64
    assert layer(X[1].to("meta")).shape == (2, 3)


def test_meta_layers_give_shapes_without_numbers():
    layer = snn.SLIB(3, device="meta")
    assert all(p.is_meta for p in layer.parameters())
    assert layer(X[0].to("meta")).shape == (2, 3) and layer.mem.is_meta


def test_a_layer_cast_to_low_precision_goes_on():
    layer = snn.LIB(3)
    layer(X[0])
    layer.bfloat16()
    assert layer.mem.dtype == torch.bfloat16
    y = layer(X[1].bfloat16())
    assert y.dtype == torch.bfloat16 and layer.mem.dtype == torch.float32


@pytest.mark.parametrize("rank", [0, 1])
def test_the_promoted_dtype_does_not_depend_on_rank(rank):
    layer = snn.LI(3, beta_rank=rank, dtype=torch.float64)
    y = layer(X[0])
    assert y.dtype == layer.mem.dtype == torch.float64
    assert snn.LI(3, beta=torch.tensor(0.5, dtype=torch.float64))(X[0]).dtype == torch.float64


def test_tensor_arguments_keep_their_dtype_and_numbers_take_the_default():
    layer = snn.LIB(3, beta=torch.full((3,), 0.5, dtype=torch.float64), threshold=torch.tensor(1.0).half())
    assert [layer.raw_beta.dtype, layer.raw_threshold.dtype, layer.raw_bias.dtype] == [
        torch.float64, torch.float16, torch.float32]
    assert all(p.dtype == torch.bfloat16 for p in snn.LIB(3, beta=layer.beta, dtype=torch.bfloat16).parameters())


def test_a_tensor_argument_sets_its_rank_and_is_not_shared():
    given = torch.full((3,), 0.5)
    layer = snn.LIB(3, beta=given, beta_rank=0, threshold=torch.tensor(2.0), threshold_rank=1)
    assert layer.raw_beta.shape == (3,) and layer.raw_threshold.shape == ()
    given.fill_(0.25)
    assert layer.beta.tolist() == pytest.approx([0.5] * 3)
    scale = torch.full((3,), 0.5, dtype=torch.float64)      # raw and value are the same here
    layer = snn.LITS(3, pos_scale=scale)
    scale.fill_(0.25)
    assert layer.pos_scale.tolist() == [0.5] * 3


def test_learn_flags_make_parameters_or_buffers():
    layer = snn.LIB(3, learn_beta=False)
    assert set(dict(layer.named_parameters())) == {"raw_threshold", "raw_bias"}
    assert set(dict(layer.named_buffers())) == {"raw_beta"}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_gives_the_dtype_of_the_input(dtype, backend):
    model = nn.Sequential(nn.Linear(3, 3), snn.LIB(3))
    with torch.autocast("cpu", dtype=dtype), tt.backend(backend):
        y = tt.scan(model, X)
        assert y.dtype == dtype and model[1].mem.dtype == torch.float32
        assert model(X[0]).dtype == dtype
    y.sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in model.parameters())
    assert model(X[0]).dtype == torch.float32


# -- inference, then training ----------------------------------------------------------


def test_states_born_in_inference_mode_do_not_break_training(backend):
    net, x = Net(), X.clone().requires_grad_()
    with tt.backend(backend):
        with torch.inference_mode():
            warm = tt.scan(net, X)
        assert warm.is_inference()
        net(x[0]).sum().backward()
        net.zero_grad()
        net.zero_states()
        with torch.inference_mode():
            net(X[0])
        tt.scan(net, x).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.between.parameters())


def test_no_grad_gives_the_same_numbers(backend):
    with tt.backend(backend):
        want = tt.scan(snn.SLIB(3), X)
        with torch.no_grad():
            got = tt.scan(snn.SLIB(3), X)
        with torch.inference_mode():
            inferred = tt.scan(snn.SLIB(3), X)
    assert not got.requires_grad
    assert_close(got, want, 0.0)
    assert_close(inferred.clone(), want, 0.0)


# -- copies ----------------------------------------------------------------------------


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


# -- TTcompile -------------------------------------------------------------------------


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


# -- random numbers --------------------------------------------------------------------


def noisy(**options):
    return snn.LIB(3, quant_fn=tt.functional.probabilistic_ste(), **options)


def seeded(how, layer=None):
    torch.manual_seed(11)
    return how(noisy() if layer is None else layer)


WAYS = {
    "stepped": lambda layer: stepped(layer, X),
    "scanned": lambda layer: tt.scan(layer, X),
    "in two scans": lambda layer: torch.cat([tt.scan(layer, X[:2]), tt.scan(layer, X[2:])]),
    "a step, then a scan": lambda layer: torch.cat([layer(X[0])[None], tt.scan(layer, X[1:])]),
}


def saved_between(layer):
    first, other = tt.scan(layer, X[:3]), noisy()
    other.load_states(layer.save_states())
    torch.manual_seed(0)
    return torch.cat([first, tt.scan(other, X[3:])])


def copied_between(layer):
    first = tt.scan(layer, X[:3])
    return torch.cat([first, tt.scan(copy.deepcopy(layer), X[3:])])


@pytest.mark.parametrize("way", [*WAYS.values(), saved_between, copied_between],
                         ids=[*WAYS, "saved and loaded", "copied"])
def test_random_layers_repeat_by_the_seed(way, backend):
    with tt.backend(backend):
        want = seeded(WAYS["stepped"])
        assert set(want.unique().tolist()) - {0.0}
        assert_close(seeded(way), want, 1e-6)


def test_random_numbers_differ_between_seeds_layers_steps_neurons_and_runs():
    x = torch.full((40, 2, 3), 0.1)
    layer = snn.LIB(3, threshold=0.1, quant_fn=tt.functional.probabilistic_ste())
    one = tt.scan(layer, x)
    assert not torch.equal(one, tt.scan(layer, x))
    layer.zero_states()
    again = tt.scan(layer, x)
    assert not torch.equal(one, again)                                          # new random numbers after zeroing
    fired = one != 0
    assert not torch.equal(fired[:, 0], fired[:, 1]) and not torch.equal(fired[..., 0], fired[..., 1])


def test_layers_that_draw_nothing_leave_the_generator_alone():
    layer = snn.LIB(3)
    before = torch.get_rng_state()
    tt.scan(layer, X)
    assert torch.equal(torch.get_rng_state(), before) and layer.rng is None
    assert list(layer.save_states()) == ["mem"]


def test_random_state_is_saved_but_not_in_the_state_dict():
    layer = noisy()
    tt.scan(layer, X)
    assert layer.rng.dtype == torch.int64 and layer.rng[1] == len(X)
    assert "rng" in layer.save_states() and not any("rng" in name for name in layer.state_dict())
    layer.zero_states()
    assert layer.rng is None


def test_loading_states_without_random_numbers_starts_new_ones():
    layer = noisy()
    layer(X[0])
    layer.load_states({"mem": torch.zeros(2, 3)})
    assert layer.rng is None


def test_random_layers_repeat_inside_a_model(backend):
    def model():
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(3, 3), noisy(), nn.Linear(3, 3), noisy())

    one, other = model(), model()
    with tt.backend(backend):
        torch.manual_seed(5)
        want = stepped(one, X)
        torch.manual_seed(5)
        assert_close(tt.scan(other, X), want, 1e-5)
