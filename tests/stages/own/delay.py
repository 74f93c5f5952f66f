"""A configured stage, with as many states as its configuration asks for."""

import tracetorch as tt


class Delay(tt.Stage):
    """Input of some steps ago.

        x = late_0        late_0, late_1, ... = late_1, ..., x
    """

    place = "input"

    def __init__(self, steps: int = 2):
        self.steps = steps

    def states(self):
        return {f"late_{i}": tt.State() for i in range(self.steps)}

    def step(self, s):
        line = [getattr(s, name) for name in self.states()] + [s.x]
        s.x = line[0]
        for name, value in zip(self.states(), line[1:], strict=True):
            setattr(s, name, value)
