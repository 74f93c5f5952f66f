"""Cases: stages, and the mode of a layer."""

from torch import nn

import tracetorch as tt

from . import TABLE, case, neuron, shape


class Gain(tt.Stage):
    """Configured, with a class attribute, a dict in a class attribute, and a property."""

    place = "drive"
    factor = 1.0
    table = {"k": 1.0}      # noqa: RUF012

    def __init__(self, own=1.0):
        self.own = own

    @property
    def read(self):
        return TABLE["k"]

    def step(self, s):
        for b in s.branches:
            b.drive = b.drive * self.own * self.factor * self.table["k"] * self.read


def staged():
    TABLE["k"] = 1.0
    Gain.factor = 1.0
    Gain.table["k"] = 1.0
    stage = Gain()
    return stage, tt.compose(stage, tt.Binary, name="GainedLIB")(4).double()


@case
def attribute_of_a_stage():
    layer = staged()[1]
    composed = next(s for s in layer.stages if isinstance(s, Gain))
    composed.own = 1.0
    return layer, lambda: setattr(composed, "own", 2.0)


@case
def class_attribute_of_a_stage():
    return staged()[1], lambda: setattr(Gain, "factor", 2.0)


@case
def dict_of_a_stage():
    return staged()[1], lambda: Gain.table.update(k=2.0)


@case
def property_of_a_stage():
    return staged()[1], lambda: TABLE.update(k=2.0)


@case
def step_of_a_stage_is_replaced():
    class Twice(tt.Stage):
        place = "drive"

        def step(self, s):
            s.drive = s.drive * 1.0

    def step(self, s):
        s.drive = s.drive * 2.0
    return tt.compose(Twice, tt.Binary, name="TwiceLIB")(4).double(), lambda: setattr(Twice, "step", step)


@case
def attribute_of_a_stage_of_the_library():
    layer = tt.compose(tt.Binary, tt.Reset("subtract", detach=True), name="ResetChangesLIB")(4).double()
    reset = next(s for s in layer.stages if isinstance(s, tt.Reset))
    reset.mode = "subtract"
    return layer, lambda: setattr(reset, "mode", "zero")


@case
def training_flag():
    class Fire(nn.Module):
        def forward(self, v):
            return shape(v, 1.0 if self.training else 3.0)
    layer = neuron(Fire())
    return layer, layer.eval
