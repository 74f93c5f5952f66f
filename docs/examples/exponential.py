"""An exponential membrane: near the threshold it takes off by itself, which makes spikes sharp."""

import torch

import tracetorch as tt


class Exponential(tt.Stage):
    """Leaky membrane with an exponential upstroke.

        mem = beta*mem + (1 - beta)*sharpness*exp(min((mem - knee)/sharpness, 5)) + drive

    Below `knee` the middle term is next to nothing; above, it grows until the neuron fires. The
    exponent is kept at 5 or below so that a strong input can't overflow.
    Source: Fourcaud-Trocmé et al. 2003, How spike generation mechanisms determine the neuronal
    response to fluctuating inputs.
    """

    place = "membrane"
    beta = tt.Decay(0.9)
    knee = tt.Positive(0.8)
    sharpness = tt.Positive(0.2)
    mem = tt.State()

    def step(self, s):
        height = torch.clamp((s.mem - s.knee) / s.sharpness, max=5.0)
        upstroke = (1 - s.beta) * s.sharpness * torch.exp(height)
        s.mem = s.beta * s.mem + upstroke + s.drive
        s.potential = s.output = s.mem


ExponentialLIF = tt.compose(Exponential, tt.Binary, tt.Reset("zero"),
                            name="ExponentialLIF", defaults={"threshold": 2.0})
"""Fires when the upstroke has passed 2, and starts again from 0."""


def pushes() -> torch.Tensor:
    """Return an input [60, 2]: five pushes that stay below the knee, and five that pass it."""
    x = torch.zeros(60, 2)
    x[5:10, 0], x[5:10, 1] = 0.20, 0.32
    return x


if __name__ == "__main__":
    layer = ExponentialLIF(2, quant_fn=tt.functional.round_ste())
    with torch.no_grad():
        spikes, recordings = tt.scan(layer, pushes(), record="potential")
    for name, mem, spike in zip(("weak", "strong"), recordings["potential"].T, spikes.T, strict=True):
        print(f"{name}: membrane up to {mem.max():.2f}, {int(spike.sum())} spikes")
