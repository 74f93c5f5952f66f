"""Modules that a NIR graph becomes: a chain or a graph of modules, and the nodes that torch does not have."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..functional import heavi_erfc
from ..layers.neuron import Neuron
from .report import Report

INPUT, OUTPUT = "input", "output"


class Imported(nn.Module):
    """What a module made by `tt.from_nir` remembers.

    Attributes:
        report: what became of each node.
        input_shape: shape of one step's input, without the batch.
        method: how the equations were discretised.
        paths: the node on the way back to each neuron that hears itself.
    """

    report: Report | None = None
    input_shape: tuple[int, ...] | None = None
    method: str | None = None
    paths: Mapping[str, str] = MappingProxyType({})


class Chain(Imported, nn.Sequential):
    """Modules one after another, named as the nodes of the graph."""


class Graph(Imported):
    """Modules in the order in which a graph reaches them; what several edges bring to one is summed.

    Args:
        modules: a module for each node, by name, each after those that it reads.
        sources: the names that each node and "output" read, "input" among them.
    """

    def __init__(self, modules: Mapping[str, nn.Module], sources: Mapping[str, tuple[str, ...]]) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)
        self.sources = dict(sources)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output for one step x [B, ...], or for all of them with time folded into the batch."""
        values = {INPUT: x}
        for name, module in self.named_children():
            values[name] = module(self._sum(values, name))
        return self._sum(values, OUTPUT)

    def _sum(self, values: dict[str, Tensor], name: str) -> Tensor:
        first, *rest = (values[source] for source in self.sources[name])
        return sum(rest, first)

    def extra_repr(self) -> str:
        return "\n".join(f"{name} <- {' + '.join(sources)}" for name, sources in self.sources.items())


class Scale(nn.Module):
    """Multiply by one value for each element.

        y = scale*x
    """

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.scale = nn.Parameter(scale)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class Threshold(nn.Module):
    """Spike where the input exceeds a threshold, without a state.

        y = spike_fn(x - threshold)
    """

    def __init__(self, threshold: Tensor) -> None:
        super().__init__()
        self.threshold = nn.Parameter(threshold)
        self.spike_fn = heavi_erfc(1.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.spike_fn(x - self.threshold)


class SumPool2d(nn.Module):
    """Sum over windows of the last two dimensions; the arguments are those of `nn.AvgPool2d`."""

    def __init__(self, kernel_size: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.kernel_size, self.stride, self.padding, divisor_override=1)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class EachPlace(nn.Module):
    """A neuron layer with parameters of its own at every place of its input: [B, ...] is flattened around it."""

    def __init__(self, neuron: Neuron) -> None:
        super().__init__()
        self.neuron = neuron

    def forward(self, x: Tensor) -> Tensor:
        return torch.reshape(self.neuron(x.flatten(1)), x.shape)     # [B, ...] -> [B, places] -> [B, ...]
