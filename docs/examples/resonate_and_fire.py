"""A resonate-and-fire neuron: two states that circle each other, so input in rhythm adds up."""

import torch

import tracetorch as tt


class Resonator(tt.Stage):
    """Membrane that swings and dies away, and listens to its own frequency.

        swing = damping*(cos(omega)*swing - sin(omega)*mem) + drive
        mem   = damping*(sin(omega)*swing + cos(omega)*mem)     (both from the old values)

    `omega` is the angle that it turns per step: one swing takes 2*pi/omega steps.
    Source: Izhikevich 2001, Resonate-and-fire neurons.
    """

    place = "membrane"
    damping = tt.Decay(0.95, split=True)
    omega = tt.Positive(0.5, split=True)
    swing = tt.State(split=True)
    mem = tt.State(split=True)

    def step(self, s):
        for b in s.branches:
            along = b.damping * torch.cos(b.omega)
            across = b.damping * torch.sin(b.omega)
            swing, mem = b.swing, b.mem
            b.swing = along * swing - across * mem + b.drive
            b.mem = across * swing + along * mem
        s.potential = s.output = s.branches.total("mem")


ResonateAndFire = tt.compose(Resonator, tt.Binary, name="ResonateAndFire")
"""Fires where the swinging membrane reaches the threshold."""

Resonate = tt.compose(Resonator, name="Resonate")
"""The membrane alone, as a readout."""

DualResonate = tt.compose(tt.Dual, Resonator, name="DualResonate")
"""Positive and negative input, each with a swing of its own."""


def two_pulses(gap: int, steps: int = 60) -> torch.Tensor:
    """Return an input [steps, 1] with a pulse at step 5 and another `gap` steps later."""
    x = torch.zeros(steps, 1)
    x[5] = x[5 + gap] = 0.8
    return x


if __name__ == "__main__":
    period = 2 * torch.pi / 0.5                       # about 12.6 steps
    layer = ResonateAndFire(1, threshold=0.9, quant_fn=tt.functional.round_ste())
    for gap in (6, 13):
        layer.zero_states()
        spikes = int(tt.scan(layer, two_pulses(gap)).sum())
        print(f"two pulses {gap} steps apart, one swing being {period:.1f}: {spikes} spikes")
