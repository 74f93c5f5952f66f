"""State management over any module: zero, detach, save and load the states of all layers inside."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from .layer import Layer


def named_layers(module: nn.Module) -> Iterator[tuple[str, Layer]]:
    """Yield the path and the layer of every tracetorch layer in a module, the module itself included."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"expected a torch.nn.Module, got {type(module).__name__}")
    for path, child in module.named_modules():
        if isinstance(child, Layer):
            yield path, child
        elif isinstance(child, Model):
            child._warn_hidden_layers()


def zero_states(module: nn.Module) -> None:
    """Forget the states of all layers in a module: they are None until the next step."""
    for _, layer in named_layers(module):
        layer.zero_states()


def detach_states(module: nn.Module) -> None:
    """Cut the graph behind the states of all layers in a module; the values stay."""
    for _, layer in named_layers(module):
        layer.detach_states()


def TTcompile(module: nn.Module) -> None:
    """Replace every `raw_` tensor in a module by its value, for inference."""
    for _, layer in named_layers(module):
        layer.TTcompile()


def TTdecompile(module: nn.Module) -> None:
    """Undo `TTcompile`."""
    for _, layer in named_layers(module):
        layer.TTdecompile()


def save_states(module: nn.Module) -> dict[str, Tensor]:
    """Return detached copies of all states in use, by path and name (`"1.mem"`)."""
    return {_join(path, name): state.detach().clone()
            for path, layer in named_layers(module) for name, state in layer._live_states()}


def load_states(module: nn.Module, states: dict[str, Tensor], strict: bool = True,
                device: torch.device | str | None = None) -> None:
    """Take over states from `save_states`; a load that fails changes nothing.

    Args:
        states: from `save_states`, or from `torch.load(path, weights_only=True)`; `{}`, as saved before any step,
            forgets all states if strict.
        strict: False passes over names that are missing or that the module does not have.
        device: where to put them; without it, where the layer's parameters are.

    Raises:
        TypeError: something is no tensor.
        ValueError: names that are missing, superfluous (both only if strict) or of the wrong shape; all are listed.
    """
    slots = {_join(path, name): (layer, name) for path, layer in named_layers(module) for name in layer._state_names}
    optional = {_join(path, name) for path, layer in named_layers(module) for name in layer._optional_states}
    faults = []
    if strict:
        faults += [f"missing {name}" for name in slots if states and name not in states and name not in optional]
        faults += [f"unknown {name}" for name in states if name not in slots]
    found = {name: value for name, value in states.items() if name in slots}
    for name, value in found.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"load_states: {name} must be a tensor, got {type(value).__name__}")
        faults += _shape_fault(name, *slots[name], value)
    if faults:
        raise ValueError(f"load_states: {'; '.join(faults)}. Nothing was loaded; pass strict=False to load what "
                         "fits by name, and call zero_states() first where the batch size has changed")
    for name in slots:
        layer, attribute = slots[name]
        if name in found:
            setattr(layer, attribute, found[name].detach().clone().to(device or _device_of(layer, found[name])))
        elif name in optional or (strict and not states):
            setattr(layer, attribute, None)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _device_of(layer: Layer, default: Tensor) -> torch.device:
    held = [*layer.parameters(), *layer.buffers()]
    return held[0].device if held else default.device


def _shape_fault(path: str, layer: Layer, name: str, value: Tensor) -> list[str]:
    """Say where a state does not fit the one that the layer holds, or its number of neurons."""
    if name in layer._optional_states:
        return [] if value.shape == (2,) else [f"{path} must have shape [2], got {list(value.shape)}"]
    held = getattr(layer, name)
    if held is not None and held.shape != value.shape:
        return [f"{path} has shape {list(value.shape)}, the layer's has {list(held.shape)}"]
    if value.ndim == 0 or not -value.ndim <= layer.dim < value.ndim or value.shape[layer.dim] != layer.num_neurons:
        return [f"{path} has shape {list(value.shape)}, expected {layer.num_neurons} along dim={layer.dim}"]
    return []


class Model(nn.Module):
    """An `nn.Module` with the state functions as methods; a layer it would not find draws a warning."""

    def zero_states(self) -> None:
        """Forget the states of all layers."""
        zero_states(self)

    def detach_states(self) -> None:
        """Cut the graph behind the states of all layers."""
        detach_states(self)

    def save_states(self) -> dict[str, Tensor]:
        """Return detached copies of all states in use."""
        return save_states(self)

    def load_states(self, states: dict[str, Tensor], strict: bool = True,
                    device: torch.device | str | None = None) -> None:
        """Take over states; see `tt.load_states`."""
        load_states(self, states, strict, device)

    def TTcompile(self) -> None:
        """Replace every `raw_` tensor by its value, for inference."""
        TTcompile(self)

    def TTdecompile(self) -> None:
        """Undo `TTcompile`."""
        TTdecompile(self)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if isinstance(value, (list, tuple, dict)):
            self._warn_hidden_layers()

    def _warn_hidden_layers(self) -> None:
        """Warn of layers in plain Python containers, which no module finds."""
        for name, value in vars(self).items():
            items = value.values() if isinstance(value, dict) else value
            if not name.startswith("_") and isinstance(value, (list, tuple, dict)) and \
                    any(isinstance(item, Layer) for item in items):
                warnings.warn(f"{type(self).__name__}.{name} holds layers in a plain {type(value).__name__}: their "
                              f"parameters and states are not part of the model; write self.{name} = "
                              f"nn.Module{'Dict' if isinstance(value, dict) else 'List'}(...)", stacklevel=4)
