"""A state that starts at 1 and limits the input."""

import torch

import tracetorch as tt


class Depression(tt.Stage):
    """A resource that each input uses up and that recovers.

        x = resource*x        resource = resource + (1 - recovery)*(1 - resource) - use*resource*tanh|x|
    """

    place = "input"
    recovery = tt.Decay(0.8)
    use = tt.Decay(0.3)
    resource = tt.State(1.0)

    def step(self, s):
        used = s.use * s.resource * torch.tanh(s.x.abs())
        s.x = s.resource * s.x
        s.resource = s.resource + (1 - s.recovery) * (1 - s.resource) - used
