"""A stage that draws random numbers."""

import tracetorch as tt


class Noise(tt.Stage):
    """Every step draws its own threshold.

        threshold + sigma*(uniform - 0.5)
    """

    sigma = tt.Real(0.2)

    def step(self, s):
        s.shift = s.shift + s.sigma * (tt.functional.uniform(s.x) - 0.5)
