"""Learnable tensors of an nn.Module used as spike_fn or quant_fn, lifted out of it to be inputs of the step."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import torch
from torch import Tensor, nn

from ..pipeline import Step

CALLABLES = ("spike_fn", "quant_fn")


def lifted(step: Step) -> dict[str, Tensor]:
    """Return parameters and floating-point buffers of the step's callables, as `spike_fn.slope`."""
    found = {}
    for role in CALLABLES:
        module = getattr(step, role)
        if isinstance(module, nn.Module) and (module._parameters or module._buffers or module._modules):
            for name, tensor in itertools.chain(module.named_parameters(), module.named_buffers()):
                if tensor.dtype.is_floating_point:
                    found[f"{role}.{name}"] = tensor
    return found


def as_parameters(step: Step, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return what `lifted` found as kernels take parameters: of shape [] or [num_neurons], in `dtype`."""
    return {n: (t.reshape(()) if t.numel() == 1 else t).to(dtype) for n, t in lifted(step).items()}


def why_not_lifted(step: Step, shape: torch.Size, dim: int) -> str | None:
    """Say which lifted tensor is neither a number nor one value per neuron; a step of `shape` has them along `dim`."""
    size, last = shape[dim], dim == len(shape) - 1
    for name, tensor in lifted(step).items():
        if tensor.numel() != 1 and not (last and tuple(tensor.shape) == (size,)):
            return (
                f"{name} has shape {list(tensor.shape)}: a fused callable may hold numbers, or one value for each "
                f"of the {size} neurons where they are the last dimension"
            )
    return None


def bind(step: Step, tensors: dict[str, Tensor]) -> Step:
    """Return the step with `tensors` in the place of what `lifted` found."""
    replaced: dict[str, Any] = {}
    for role in CALLABLES:
        own = {name.removeprefix(role + "."): t for name, t in tensors.items() if name.startswith(role + ".")}
        if own:
            replaced[role] = _Bound(getattr(step, role), own)
    return dataclasses.replace(step, **replaced) if replaced else step


class _Bound:
    def __init__(self, module: nn.Module, tensors: dict[str, Tensor]):
        self.module, self.tensors = module, tensors

    def __call__(self, v: Tensor) -> Tensor:
        return torch.func.functional_call(self.module, self.tensors, (v,))
