"""A drive that reads the last spikes, whether or not traces are split."""

import tracetorch as tt


class Inhibition(tt.Stage):
    """Spikes hyperpolarise what follows.

        drive = drive - strength*ahp        ahp = relax*ahp + spike (after firing)
    """

    place = "drive"
    relax = tt.Decay(0.7)
    strength = tt.Positive(0.3)
    ahp = tt.State()

    def step(self, s):
        for b in s.branches:
            b.drive = b.drive - b.share(s.strength * s.ahp)

    def after(self, s):
        s.ahp = s.relax * s.ahp + s.spike
