"""A state that is not split can't be assigned half by half: what was assigned would be lost."""

import pytest
import torch

import tracetorch as tt


class Whole(tt.Stage):
    """A membrane that adds up both branches in one state."""

    place = "membrane"
    mem = tt.State()

    def step(self, s):
        for b in s.branches:
            s.mem = s.mem + b.drive
        s.potential = s.output = s.mem


def test_a_reset_of_one_membrane_under_dual_is_refused():
    tt.compose(Whole, tt.Binary, name="Whole")
    with pytest.raises(ValueError, match=r"Reset can't run.*`mem` is one state for both.*State\(split=True\)"):
        tt.compose(tt.Dual, Whole, tt.Binary, name="DualWhole")


def test_without_a_reset_it_runs():
    layer = tt.compose(tt.Dual, Whole, tt.Binary, tt.Reset("none"), name="DualWholeKept")(1)
    tt.scan(layer, torch.tensor([[1.0], [-3.0]]))
    assert layer.mem == -2


def test_recordable_names_of_a_layer_have_no_dot_in_front():
    with pytest.raises(ValueError, match=r"nothing called 'foo' to record; there are beta, bias, .*mem"):
        tt.scan(tt.snn.LIB(4), torch.rand(3, 4), record="foo")
