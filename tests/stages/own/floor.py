"""A stage that changes a state of another stage."""

import torch

import tracetorch as tt


class Floor(tt.Stage):
    """The membrane does not fall below a floor.

        mem = max(mem, -floor)
    """

    floor = tt.Positive(0.4)

    def step(self, s):
        for b in s.branches:
            b.mem = torch.maximum(b.mem, -s.floor)
        s.potential = s.output = s.branches.total("mem")
