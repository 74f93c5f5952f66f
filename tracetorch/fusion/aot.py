"""What a layer's GPU kernels will need, told without a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from ..backends.triton.aot import CompiledKernel
    from ..neuron import Neuron


def aot(layer: Neuron, arch: str = "sm_90", dtype: torch.dtype = torch.float32) -> list[CompiledKernel]:
    """Compile a layer's Triton kernels, forward, backward and through activations, for a GPU that need not be there.

    Args:
        layer: a composed neuron.
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
    from ..backends.triton.aot import aot as compile_kernels

    return compile_kernels(layer, arch, dtype)
