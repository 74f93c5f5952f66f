"""Dtypes, devices and modes: what a layer is moved and cast to, autocast, inference mode."""

import pytest
import torch
from torch import nn

import tracetorch as tt
from tests.stages.own.noise import Noise
from tests.support.compositions import Net, assert_close, inputs
from tracetorch import snn

X = inputs(6, 2, 3).float()


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


def test_type_casts_states_but_not_the_random_key():
    layer = tt.compose(tt.Binary, Noise)(3)
    layer(X[0])
    key = layer.rng.clone()
    layer.type(torch.float64)
    assert layer.mem.dtype == torch.float64
    assert_close(layer.rng, key, 0.0)
    assert layer(X[1].double()).dtype == torch.float64


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
