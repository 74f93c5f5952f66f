"""A reset of its own."""

import tracetorch as tt


class Quench(tt.Stage):
    """A spike takes the same share of every membrane.

        mem = mem*(1 - quench*|spike|)
    """

    place = "reset"
    quench = tt.Decay(0.8)

    def step(self, s):
        for b in s.branches:
            b.mem = b.mem * (1 - s.quench * s.spike.abs())
