"""Any module of layers: find them, show their values for inference, and `Model`, which has the verbs as methods."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

from torch import nn

from .layer import Layer
from .states import Stateful, named_holders


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
    """Replace every `raw_` tensor in a module by its value, for inference."""
    for _, layer in named_layers(module):
        layer.TTcompile()


def TTdecompile(module: nn.Module) -> None:
    """Undo `TTcompile`."""
    for _, layer in named_layers(module):
        layer.TTdecompile()


class Model(Stateful):
    """An `nn.Module` with the state functions as methods; it warns of layers in plain lists, which no module finds."""

    def TTcompile(self) -> None:
        """Replace every `raw_` tensor by its value, for inference."""
        TTcompile(self)

    def TTdecompile(self) -> None:
        """Undo `TTcompile`."""
        TTdecompile(self)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if isinstance(value, (list, tuple, dict)):
            self.warn_of_hidden_layers()

    def warn_of_hidden_layers(self) -> None:
        """Warn of layers in plain Python containers, which no module finds."""
        for name, value in vars(self).items():
            items = value.values() if isinstance(value, dict) else value
            if not name.startswith("_") and isinstance(value, (list, tuple, dict)) and \
                    any(isinstance(item, Layer) for item in items):
                warnings.warn(f"{type(self).__name__}.{name} holds layers in a plain {type(value).__name__}: their "
                              f"parameters and states are not part of the model; write self.{name} = "
                              f"nn.Module{'Dict' if isinstance(value, dict) else 'List'}(...)", stacklevel=4)
