"""How each library builds a neuron from the words of the page, and runs it over time."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

torch.set_default_dtype(torch.float64)      # Norse makes its default parameters at import
with warnings.catch_warnings():             # their own deprecations, at import
    warnings.simplefilter("ignore")
    import norse.torch
    import sinabs.activation
    import sinabs.layers
    import snntorch
    from rockpool.nn.modules import LIFTorch
    from snntorch import surrogate as snn_surrogate
    from spikingjelly.activation_based import functional as jelly_functional
    from spikingjelly.activation_based import layer as jelly_layer
    from spikingjelly.activation_based import neuron as jelly
    from spikingjelly.activation_based import surrogate as jelly_surrogate
torch.set_default_dtype(torch.float32)


@dataclass(frozen=True)
class Library:
    """A section of the page: the names that its left column uses, how time is run, in which dtype and how closely."""

    names: dict[str, Any]
    run: Callable[[Any, Tensor], Tensor]
    dtype: torch.dtype = torch.float64
    error: float = 1e-6


def snntorch_run(neuron: Any, x: Tensor) -> Tensor:
    """Call once a step; the states are kept in the neuron."""
    outputs = []
    for x_t in x:
        spikes, *_ = neuron(x_t)
        outputs.append(spikes)
    return torch.stack(outputs)


def norse_run(cell: Any, x: Tensor) -> Tensor:
    """Call once a step; the state goes in and out."""
    outputs, state = [], None
    for x_t in x:
        y, state = cell(x_t, state)
        outputs.append(y.to_dense())
    cell.v = getattr(state, "v", None)      # where SpikingJelly keeps it
    return torch.stack(outputs)


def jelly_run(node: Any, x: Tensor) -> Tensor:
    """Call once with time first, in step mode "m"."""
    jelly_functional.set_step_mode(node, "m")
    y = node(x)
    return y if isinstance(y, Tensor) else torch.stack(y)


def batch_first(neuron: Any, x: Tensor) -> Tensor:
    """Call once with [batch, time, ...]; some return states as well."""
    y = neuron(x.transpose(0, 1))
    return (y[0] if isinstance(y, tuple) else y).transpose(0, 1)


LIBRARIES = {
    "snnTorch": Library({"snn": snntorch, "surrogate": snn_surrogate}, snntorch_run),
    "Norse": Library(vars(norse.torch), norse_run),
    "SpikingJelly": Library({"neuron": jelly, "layer": jelly_layer, "surrogate": jelly_surrogate}, jelly_run),
    "sinabs": Library({"sl": sinabs.layers, "sa": sinabs.activation, "nn": nn}, batch_first),
    "Rockpool": Library({"LIFTorch": LIFTorch}, batch_first, torch.float32, 1e-5),
}
