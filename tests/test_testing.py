"""check_stage passes what is right, and says of what is wrong which promise it breaks."""

import pytest
import torch

import tracetorch as tt
from tests.stages.own.noise import Noise
from tracetorch.testing import check_stage


class Inhibition(tt.Stage):
    """Right."""

    weight = tt.Real(0.2)
    last = tt.State()

    def step(self, s):
        s.shift = s.shift + s.weight * s.last

    def after(self, s):
        s.last = s.output


class Forgetful(tt.Stage):
    """Keeps what it should carry in Python."""

    place = "drive"

    def __init__(self):
        self.calls = 0

    def step(self, s):
        self.calls += 1
        for b in s.branches:
            b.drive = b.drive + 0.01 * self.calls


class Straight(tt.Stage):
    """Cuts a gradient that finite differences see."""

    place = "drive"
    gain = tt.Real(0.5)

    def step(self, s):
        for b in s.branches:
            b.drive = b.drive * s.gain.detach()


class Mixing(tt.Stage):
    """Reads other elements of the batch."""

    place = "drive"

    def step(self, s):
        for b in s.branches:
            b.drive = b.drive - b.drive.roll(1, 0)


class Impossible(tt.Stage):
    """Reads what is never there."""

    def step(self, s):
        s.shift = s.shift + s.nothing


@pytest.mark.parametrize("stage", [Inhibition, Noise, tt.Reset("zero", detach=False), tt.Reset(to=-0.25, detach=False)],
                         ids=["own", "random", "configured", "with a parameter"])
def test_a_right_stage_passes(stage):
    check_stage(stage)


WRONG = {
    "a state in Python": (Forgetful, False, "A scan equals stepping|Two scans|A copy|on eager"),
    "a cut gradient": (Straight, True, "on eager: Gradients equal finite differences"),
    "the batch mixed": (Mixing, False, "The order of the batch does not matter"),
    "not fused": (Mixing, True, "on (eager|cpp)"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_stage_is_told_what_it_breaks(name):
    stage, fuses, says = WRONG[name]
    with pytest.raises(AssertionError, match=says):
        check_stage(stage, fuses=fuses)


def test_a_stage_that_fits_nowhere():
    with pytest.raises(ValueError, match=r"no composition accepts .*Impossible"):
        check_stage(Impossible)
    assert torch.is_grad_enabled()
