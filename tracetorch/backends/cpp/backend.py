"""The backend's face: where compiled C++ can run, and the program of a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ...fusion.activations import activations_in_kernel, derivative_of
from ...fusion.cache import captured
from ...fusion.capture import CannotCapture, CapturedStep
from ...looped import BIAS, FED
from ...pipeline import Step
from ..alternating import Alternating
from ..program import Program, Refused
from . import build, matrix
from .feedback import FeedbackProgram
from .program import CppProgram
from .source import TYPES, Layout

Activations = tuple[Callable[[Tensor], Tensor] | None, ...]


def why_not_here(device: torch.device, io: torch.dtype) -> str | None:
    """Return why compiled C++ can't run on such an input; None where it can."""
    if device.type != "cpu":
        return f"the input is on {device}, and compiled C++ runs on the CPU"
    if io not in TYPES:
        return f"the input is {io}; compiled C++ takes {', '.join(str(d) for d in TYPES)}"
    return None


def program_of(step: Step, dtype: torch.dtype, io: torch.dtype, ranks: Mapping[str, int],
            record: tuple[str, ...]) -> Program:
    """Return the compiled step, made once for each layout; see `backends.choose` for the arguments."""
    elementwise, biased = step.elementwise(), BIAS in ranks
    try:
        found = captured(elementwise, dtype, record)
    except CannotCapture as error:
        raise Refused(str(error)) from None
    vectors = tuple([ranks[n] == 1 for n in found.params])
    activations = activations_in_kernel(elementwise, found.params, dtype)
    key = "cpp", io, vectors, activations, elementwise is step, biased
    if key not in found.kernels:
        if build.compiler() is None:
            raise Refused(build.NO_COMPILER)
        layout = Layout(io, vectors, tuple(derivative_of(a, dtype) for a in activations))
        try:
            found.kernels[key] = _ready(found, layout, activations, elementwise is not step, biased)
        except RuntimeError as error:
            raise Refused(str(error)) from None
    return found.kernels[key]


def _ready(found: CapturedStep, layout: Layout, activations: Activations, looped: bool, biased: bool) -> Program:
    """Return the program, compiled forward in time; raises RuntimeError."""
    if looped and matrix.why_not() is None:
        fed = FeedbackProgram(found, replace(layout, fed=found.states.index(FED)), activations, biased)
        fed.ready()
        return fed
    program = CppProgram(found, layout, activations)
    program.ready()
    return Alternating(program, biased) if looped else program
