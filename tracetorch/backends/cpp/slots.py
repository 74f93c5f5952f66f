"""The arguments of the compiled loops: int64 numbers, addresses among them, in the one order that stands here."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

_BOTH = (
    ("THREADS", "how many threads may run"),
    ("STEPS", "time steps"),
    ("OUTER", "a step is [outer, neurons, inner]"),
    ("NEURONS", ""),
    ("INNER", ""),
    ("SEGMENT", "steps between kept states"),
    ("X", "input"),
    ("X_STRIDE", "elements from one step to the next"),
    ("X_PIECE", "elements side by side in a step"),
    ("X_APART", "elements from one such piece to the next"),
    ("OUT_STRIDE", "the same of y and recordings, and of the gradient of x"),
    ("OUT_PIECE", ""),
    ("OUT_APART", ""),
    ("CHECKPOINTS", "kept states"),
    ("SEED", "random numbers"),
    ("POSITION", "of the first step, in their stream"),
)


_FEEDBACK = (
    ("MATRIX", 1, "the matrix library; 0: the loop takes one step backward and multiplies nothing"),
    ("PACKED", 1, "the packed matrix; 0: the call packs it"),
    ("FINITE", 1, "whether all of what is packed is finite"),
    ("WEIGHT", 1, "the matrix [N, N]"),
    ("BIAS", 1, ""),
    ("DRIVE", 1, "what the steps receive, kept for backward"),
)


class Slots:
    """Where each argument lies. An argument is one number, or a group with one for each state, parameter, ...

    Args:
        groups: name, how many numbers, and what they are, in order.
    """

    def __init__(self, groups: Iterable[tuple[str, int, str]]) -> None:
        self.groups = tuple(groups)
        self.at: dict[str, int] = {}
        self.size = 0
        for name, count, _ in self.groups:
            self.at[name] = self.size
            self.size += count

    @property
    def places(self) -> list[int]:
        """Where the strides are that are followed by what else says where a tensor lies."""
        return [self.at[name] + k for name, count, _ in self.groups if "STRIDE" in name for k in range(0, count, 3)]

    def enum(self) -> str:
        """Return the C++ names of the places."""
        lines = [f"  {name} = {self.at[name]},{f'  // {what}' if what else ''}" for name, _, what in self.groups]
        return "\n".join(["enum Slot {", *lines, "};"])

    def filled(self, **numbers: int) -> array:
        """Return the arguments of a call with some of them filled in; the others are 0, which as an address is none."""
        slots = array("q", bytes(8 * self.size))
        for name, number in numbers.items():
            slots[self.at[name]] = number
        return slots


def forward_slots(states: int, parameters: int, recordings: int, feedback: bool = False) -> Slots:
    """Return the arguments of the loop forward in time."""
    return Slots([      # from Y on, the order in which program.py puts them
        *((name, 1, what) for name, what in _BOTH),
        *(_FEEDBACK if feedback else ()),
        ("Y", 1, "output"),
        ("FINAL_AT", states, "final states"),
        ("RECORDING_AT", recordings, "recordings"),
        ("START_AT", states, "start states"),
        ("PARAMS_AT", parameters, "values of the parameters"),
    ])


def backward_slots(states: int, parameters: int, recordings: int, gradients: int, feedback: bool = False) -> Slots:
    """Return the arguments of the loop backward in time, which gives the gradients of so many parameters."""
    return Slots([      # from GY on, the order in which program.py puts them
        *((name, 1, what) for name, what in _BOTH),
        *(_FEEDBACK if feedback else ()),
        ("GY_STRIDE", 1, "as of x, of the cotangent of the output"),
        ("GY_PIECE", 1, ""),
        ("GY_APART", 1, ""),
        ("GRECORDING_STRIDE_AT", 3 * recordings, "and of those of the recordings"),
        ("GY", 1, "cotangent of the output"),
        ("GX", 1, "gradient of the input"),
        ("START_AT", states, "start states"),
        ("PARAMS_AT", parameters, "values of the parameters"),
        ("GFINAL_AT", states, "cotangents of the final states"),
        ("GRECORDING_AT", recordings, "cotangents of the recordings"),
        ("GSTART_AT", states, "gradients of the start states"),
        ("GPARAM_AT", gradients, "gradients of the parameters as given"),
        ("STORED_AT", gradients, "those parameters as given"),
    ])
