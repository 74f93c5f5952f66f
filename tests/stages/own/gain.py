"""The smallest stage: one parameter, no state."""

import tracetorch as tt


class Gain(tt.Stage):
    """Input times a learned gain.

        x = gain*x
    """

    place = "input"
    gain = tt.Real(1.5)

    def step(self, s):
        s.x = s.gain * s.x
