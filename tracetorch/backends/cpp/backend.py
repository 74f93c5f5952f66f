"""The backend's face: where compiled C++ can run, and the program of a step."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ...fusion.activations import derivative_of, inside
from ...fusion.cache import captured
from ...fusion.capture import CannotCapture
from ...pipeline import Step
from ..program import Refused
from . import build
from .program import CppProgram
from .source import TYPES, Layout


def why_not_here(device: torch.device, io: torch.dtype) -> str | None:
    """Return why compiled C++ can't run on such an input; None where it can."""
    if device.type != "cpu":
        return f"the input is on {device}, and compiled C++ runs on the CPU"
    if io not in TYPES:
        return f"the input is {io}; compiled C++ takes {', '.join(str(d) for d in TYPES)}"
    return None


def program_of(step: Step, dtype: torch.dtype, io: torch.dtype, ranks: Mapping[str, int],
            record: tuple[str, ...]) -> CppProgram:
    """Return the compiled step, made once for each layout; see `backends.choose` for the arguments."""
    try:
        found = captured(step, dtype, record)
    except CannotCapture as error:
        raise Refused(str(error)) from None
    vectors, activations = tuple([ranks[n] == 1 for n in found.params]), inside(step, found.params, dtype)
    key = "cpp", io, vectors, activations
    if key not in found.built:
        if build.compiler() is None:
            raise Refused(build.NO_COMPILER)
        layout = Layout(io, vectors, tuple(derivative_of(a, dtype) for a in activations))
        program = CppProgram(found, layout, activations)
        try:
            program.ready()
        except RuntimeError as error:
            raise Refused(str(error)) from None
        found.built[key] = program
    return found.built[key]
