"""A stage behind the neuron, for any output."""

import tracetorch as tt


class Smooth(tt.Stage):
    """The output is a running average of the output.

        slow = eta*slow + (1 - eta)*output        output = slow
    """

    place = "output"
    eta = tt.Decay(0.6)
    slow = tt.State()

    def step(self, s):
        s.slow = s.eta * s.slow + (1 - s.eta) * s.output
        s.output = s.slow
