"""The backend's face: where Triton can run, and the program of a step."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ...fusion.activations import activations_in_kernel
from ...fusion.capture import CannotCapture
from ...fusion.code import Unsupported
from ...looped import BIAS
from ...pipeline import Step
from ..alternating import Alternating
from ..program import Program, Refused
from . import launch
from .chain import Chain
from .derived import derived
from .handwritten import handwritten
from .program import TritonProgram
from .tuples import INTERPRETED


def why_not_here(device: torch.device, io: torch.dtype) -> str | None:
    """Return why Triton can't run on such an input; None where it can."""
    if device.type != "cuda" and not INTERPRETED:
        return f"the input is on {device}, and Triton runs on CUDA devices (or, interpreted, with TRITON_INTERPRET=1)"
    if io not in launch.IO:
        return f"the input is {io}; Triton kernels take {', '.join(map(str, launch.IO))}"
    return None


def program_of(step: Step, dtype: torch.dtype, io: torch.dtype, ranks: Mapping[str, int],
            record: tuple[str, ...]) -> Program:
    """Return the chain of stages that runs a step, made once; see `backends.choose` for the arguments."""
    elementwise = step.elementwise()
    try:
        chain = chain_of(elementwise, dtype, record)
    except (CannotCapture, Unsupported) as error:
        raise Refused(str(error)) from None
    activations = activations_in_kernel(elementwise, chain.parameters, dtype)
    program = TritonProgram(step.name, chain, dtype, record, activations)
    return program if elementwise is step else Alternating(program, BIAS in ranks)


def chain_of(step: Step, dtype: torch.dtype, record: tuple[str, ...] = ()) -> Chain:
    """Return the hand-written stages of a step, or a derived one; raises CannotCapture, Unsupported."""
    found = handwritten(step) if not record else None
    return derived(step, dtype, record) if found is None else found
