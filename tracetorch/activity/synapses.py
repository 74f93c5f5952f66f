"""Counting one module with weights: what it multiplies, and what of that has an input that is not zero."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from .report import Synapses

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
MULTIPLYING = {"linear", "bilinear", "matmul", "__matmul__", "__rmatmul__", "mm", "mv", "bmm", "addmm", "addmv",
               "baddbmm", "einsum", "tensordot", "scaled_dot_product_attention", "multi_head_attention_forward",
               *(f"conv{kind}{d}d" for kind in ("", "_transpose") for d in (1, 2, 3))}
"""Functions of torch that multiply as layers with weights do."""


def countable(module: nn.Module) -> bool:
    """Say whether the operations of a module are counted."""
    return isinstance(module, (nn.Linear, *CONVOLUTIONS))


def uncounted(module: nn.Module) -> bool:
    """Say whether a module has weights of its own (matrices, not one value per neuron) that are not counted."""
    held = isinstance(module, parametrize.ParametrizationList) or countable(module)
    return not held and any(p.ndim > 1 for p in module.parameters(recurse=False))


class Functions(TorchFunctionMode):
    """Notices multiplications with weights or of activities that are written as functions, such as `x @ w`.

    Attributes:
        seen: their names.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self._depth = 0         # in how many modules that are counted, or known not to be
        for module in model.modules():
            if countable(module) or uncounted(module):
                module.register_forward_pre_hook(lambda module, args: self._go(1))
                module.register_forward_hook(lambda module, args, y: self._go(-1))

    def _go(self, step: int) -> None:
        self._depth += step

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in MULTIPLYING and self._depth == 0:
            self.seen.add(name)
        return func(*args, **(kwargs or {}))


class SynapseCount:
    """Sums over all calls of one module.

    Attributes:
        ran: whether it was called.
    """

    def __init__(self, path: str, module: nn.Module) -> None:
        self.path, self.module = path, module
        self.title = f"{path} ({type(module).__name__})" if path else type(module).__name__
        self.inputs = self.nonzero = self.multiplications = self.operations = self.accumulates = self.connected = 0
        self._fans: dict[torch.Size, Tensor] = {}

    @property
    def ran(self) -> bool:
        return self.inputs > 0

    def add(self, x: Tensor, y: Tensor, live: Tensor | None) -> None:
        """Count one call; `live` [len(x)] leaves rows out."""
        x = x.detach()
        if live is not None:
            x, y = x[live], y[live]
        fan = self._fan_out(x)
        unit = x.abs() == 1
        self.inputs += x.numel()
        self.nonzero += int((x != 0).sum())
        self.operations += _weighted(x != 0, fan)
        self.accumulates += _weighted(unit, fan)
        self.connected += int(fan.sum()) * (x.numel() // fan.numel())
        self.multiplications += y.numel() * self.module.weight[0].numel()  # type: ignore[index]

    def _fan_out(self, x: Tensor) -> Tensor:
        """Return into how many outputs each input is summed: [in] of a Linear, [in, ...] of a convolution."""
        if isinstance(self.module, nn.Linear):
            return torch.full((self.module.in_features,), self.module.out_features)
        module = self.module
        assert isinstance(module, CONVOLUTIONS)
        shape = x.shape[-module.weight.ndim + 1:]
        if shape not in self._fans:
            with torch.enable_grad():
                probe = torch.zeros(1, *shape, dtype=torch.float64, requires_grad=True)
                ones = torch.ones(module.weight.shape, dtype=torch.float64)
                (fan,) = torch.autograd.grad(module._conv_forward(probe, ones, None).sum(), probe)
            self._fans[shape] = fan[0].round().long()
        return self._fans[shape]

    def result(self, accumulate_cost: float) -> Synapses:
        """Return the numbers."""
        accumulated = self.accumulates / self.operations if self.operations else 1.0
        cost = accumulated * accumulate_cost + (1 - accumulated)
        return Synapses(
            path=self.path, name=type(self.module).__name__, inputs=self.inputs, nonzero=self.nonzero / self.inputs,
            multiplications=self.multiplications, operations=self.operations, accumulates=self.accumulates,
            break_even=self.multiplications / (cost * self.connected))


def _weighted(mask: Tensor, fan: Tensor) -> int:
    """Return the sum of the fan-outs where `mask` [..., *fan.shape] is true."""
    rows = mask.reshape(-1, *fan.shape).sum(0).cpu()     # [*fan.shape]
    return int((rows * fan).sum())
