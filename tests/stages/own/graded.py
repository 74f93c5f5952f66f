"""A firing stage of its own."""

import tracetorch as tt


class Graded(tt.Stage):
    """A spike as large as the potential that caused it.

        spike = fire(potential - threshold)*potential
    """

    place = "fire"
    symbol = "G"
    threshold = tt.Positive(1.0, order=40)

    def step(self, s):
        s.spike = s.output = s.fire(s.potential - s.threshold) * s.potential
