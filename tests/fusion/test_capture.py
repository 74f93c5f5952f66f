"""What cannot be captured, and the reason given; what is captured, and what it holds."""

import numpy as np
import pytest
import torch
from torch import nn

import tracetorch as tt
from tests.stages.own.noise import Noise
from tracetorch.fusion.cache import captured
from tracetorch.fusion.capture import CannotCapture

WEIGHT = torch.tensor(3.0)


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.ones(()))

    def forward(self, v):
        self.scale += 1
        return v * self.scale


def branch(v):
    if v[0] > 0:
        return v
    return -v


def number(v):
    return v * float(v.detach().cpu().flatten()[0])


def reads_numpy(v):
    return v * float(np.abs(v.detach().numpy()).max())


def writes(v):
    v.add_(1)
    return v


def into(v):
    return torch.mul(v, 2, out=torch.empty_like(v))


REASONS = {
    "branch": (branch, "line 27 of test_capture.py (`if v[0] > 0:`): aten.select.int has no elementwise"),
    "number": (number, "aten.select.int has no elementwise spelling"),
    "numpy": (reads_numpy, "numpy() leaves torch; a fused step is torch operators only"),
    "reduction": (lambda v: v - v.mean(), "aten.mean.default has no elementwise spelling"),
    "order": (lambda v: torch.sort(v)[0], "aten.sort.default is not elementwise"),
    "shape": (lambda v: v.unsqueeze(-1).squeeze(-1), "aten.unsqueeze.default is not elementwise: it changes the shape"),
    "size": (lambda v: v / v.shape[-1], "asks a tensor for its shape"),
    "captured": (lambda v: v * WEIGHT, "captures a tensor of shape []"),
    "randomness": (lambda v: v + torch.rand_like(v), "draw by tracetorch.functional.uniform(like)"),
    "dropout": (nn.Dropout(0.5), "draw by tracetorch.functional.uniform(like)"),
    "dtype": (lambda v: v.double().exp().float(), "computes in torch.float64 inside a step of torch.float32"),
    "buffer": (Counting(), "aten.add_.Tensor writes into an input of the step"),
    "out": (into, "writes into a tensor by out="),
    "operator": (torch.special.bessel_j0, "aten.special_bessel_j0.default has no elementwise spelling"),
    "exception": (lambda v: v.no_such_method(), "AttributeError"),
}


@pytest.mark.parametrize("name", REASONS)
def test_reason(name):
    fn, text = REASONS[name]
    step = tt.snn.LIB(4, spike_fn=fn).bound_step()
    with pytest.raises(CannotCapture) as error:
        captured(step, torch.float32)
    assert text in str(error.value)
    if name not in ("size",):
        assert str(error.value).startswith("stage Binary, line ")


def test_reason_names_a_users_stage_and_line():
    class Crowd(tt.Stage):
        """A threshold that rises with the mean potential."""

        def step(self, s):
            s.shift = s.shift + s.potential.mean()

    step = tt.compose(tt.Binary, Crowd)(4).bound_step()
    with pytest.raises(CannotCapture, match=r"^stage Crowd, line \d+ of test_capture.py \(`s.shift = .*`\): aten.mean"):
        captured(step, torch.float32)


def test_intermediate_may_be_written_in_place():
    captured(tt.snn.LIB(4, spike_fn=writes).bound_step(), torch.float32)


def test_random_numbers_are_counted():
    assert captured(tt.compose(tt.Binary, Noise)(4).bound_step(), torch.float32).draws == 1


def test_constants_follow_the_dtype():
    step = tt.snn.LIB(4, spike_fn=lambda v: v / torch.finfo(v.dtype).eps).bound_step()
    constants = [{a for line in captured(step, d).forward.lines for a in line.args if isinstance(a, float)}
                 for d in (torch.float32, torch.float64)]
    assert torch.finfo(torch.float32).eps in constants[0]
    assert torch.finfo(torch.float64).eps in constants[1]


def test_code_of_lib():
    """mem = beta * mem + x; spike = sigmoid(4 * (mem - threshold + bias)); mem -= spike * threshold"""
    program = captured(tt.snn.LIB(4).bound_step(), torch.float32)
    assert [line.op for line in program.forward.lines] == ["mul", "add", "sub", "add", "mul", "sigmoid", "mul", "sub"]
    assert program.states == ("mem",) and program.params == ("beta", "threshold", "bias") and program.draws == 0


def test_traced_once_for_equal_callables():
    steps = [tt.snn.LIB(4, spike_fn=tt.functional.HeaviErfc(k)).bound_step() for k in (2.0, 2.0, 3.0)]
    programs = [captured(step, torch.float32) for step in steps]
    assert programs[0] is programs[1] and programs[0] is not programs[2]


@pytest.mark.parametrize("around", [torch.inference_mode, torch.no_grad, lambda: torch.autocast("cpu", torch.bfloat16)])
def test_what_surrounds_the_call_does_not_matter(around):
    def surrogate(v):       # a new function, so that it is captured inside
        return torch.sigmoid(torch.sinh(v))

    with around():
        program = captured(tt.snn.LIB(4, spike_fn=surrogate).bound_step(), torch.float32)
    assert "sinh" in [line.op for line in program.forward.lines] and len(program.backward.lines) > 15
    state = torch.get_rng_state()
    captured(tt.snn.LIB(4, spike_fn=lambda v: surrogate(v)).bound_step(), torch.float32)
    assert torch.equal(state, torch.get_rng_state())
