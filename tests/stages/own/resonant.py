"""A membrane of its own: two coupled states."""

import tracetorch as tt


class Resonant(tt.Stage):
    """A damped oscillation that the drive excites.

        vel = beta*vel - omega*mem + drive        mem = beta*mem + omega*vel
    """

    place = "membrane"
    symbol = "RF"
    beta = tt.Decay(0.9, split=True, order=20)
    omega = tt.Real(0.3)
    mem = tt.State(split=True)
    vel = tt.State(split=True)

    def step(self, s):
        for b in s.branches:
            b.vel = b.beta * b.vel - s.omega * b.mem + b.drive
            b.mem = b.beta * b.mem + s.omega * b.vel
        s.potential = s.output = s.branches.total("mem")
