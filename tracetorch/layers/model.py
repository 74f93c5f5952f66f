"""Any module of layers: find them, show their values for inference, and `Model`, which has the verbs as methods."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from .layer import Layer
from .states import CONTAINERS, Stateful, hidden_modules, named_holders


def named_layers(module: nn.Module) -> Iterator[tuple[str, Layer]]:
    """Yield the path and the layer of every tracetorch layer in a module, the module itself included.

    A layer that is a part of another (the neuron of a `tt.Feedback`) is left to that one.
    """
    parts: set[Layer] = set()
    for path, layer in named_holders(module):
        if isinstance(layer, Layer) and layer not in parts:
            parts.update(layer.parts)
            yield path, layer


def TTcompile(module: nn.Module) -> None:
    """Replace every `raw_` tensor in a module by its value, for inference.

    Args:
        module: a layer, or any module with layers inside.
    """
    for _, layer in named_layers(module):
        layer.TTcompile()


def TTdecompile(module: nn.Module) -> None:
    """Undo `TTcompile`.

    Args:
        module: a layer, or any module with layers inside.
    """
    for _, layer in named_layers(module):
        layer.TTdecompile()


class Model(Stateful):
    """An `nn.Module` with the state functions as methods: `zero_states`, `save_states` and so on.

        class Network(tt.Model): ...        # then as any nn.Module: layers in __init__, one step in forward

    Takes no arguments. A layer in a plain list, tuple or dict is warned of: its states are found, but parameters,
    `state_dict` and `.to()` of the model leave it out; write `nn.ModuleList` or `nn.ModuleDict`.
    """

    def TTcompile(self) -> None:
        """Replace every `raw_` tensor by its value, for inference."""
        TTcompile(self)

    def TTdecompile(self) -> None:
        """Undo `TTcompile`."""
        TTdecompile(self)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if isinstance(value, CONTAINERS):
            hidden_modules(self, set(self.modules()))
