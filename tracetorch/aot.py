"""What a layer's GPU kernels will need, told without a GPU."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

from . import backends
from .layers.feedback import Feedback
from .layers.neuron import Neuron

if TYPE_CHECKING:
    from .backends.triton.aot import CompiledKernel

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def aot(layer: Neuron | Feedback, arch: str = "sm_90", dtype: torch.dtype = torch.float32) -> list[CompiledKernel]:
    """Compile a layer's Triton kernels, forward, backward and through activations, for a GPU that need not be there.

    Args:
        layer: a composed neuron, or a `tt.Feedback` with one and an `nn.Linear`: then the kernels of one step.
        arch: the architecture, such as "sm_80" (A100), "sm_90" (H100).
        dtype: of the input and output.

    Returns:
        One record per kernel with `name`, `registers`, `spills` (bytes), `shared` (bytes) and `ptx`.

    Raises:
        TypeError: not a composed neuron.
        ValueError: an unknown architecture or dtype.
        RuntimeError: TRITON_INTERPRET is set; the layer can't be fused.
        ImportError: Triton is not installed.
    """
    if not isinstance(layer, Neuron | Feedback) or not layer.fuses:
        raise TypeError(f"aot: expected a composed neuron such as tt.snn.LIB(8), got {type(layer).__name__}")
    if not isinstance(arch, str) or re.fullmatch(r"sm_\d{2,3}", arch) is None:
        raise ValueError(f"aot: arch must be like 'sm_90' (H100) or 'sm_80' (A100), got {arch!r}")
    if dtype not in DTYPES:
        raise ValueError(f"aot: dtype must be one of {', '.join(map(str, DTYPES))}, got {dtype!r}")
    return backends.load("triton").aot(*layer.step_and_call(dtype, torch.device("cpu")), dtype, arch)
