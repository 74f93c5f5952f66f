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
    """An `nn.Module` with the state functions as methods, which also find layers in plain lists, tuples and dicts.

    Such layers are not part of the module: its parameters, its `state_dict` and `.to()` leave them out, as it warns.
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
            for _ in self.hidden_modules():
                pass

    def hidden_modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the path and the module of what holds layers in a plain container, and warn of it."""
        known = set(self.modules())
        for name, value in vars(self).items():
            if isinstance(value, CONTAINERS) and name not in _OWN:
                found = [(path, module) for path, module in _inside(name, value)
                         if module not in known and any(True for _ in named_holders(module))]
                if found:
                    warnings.warn(f"{type(self).__name__}.{name} holds layers in a plain {type(value).__name__}: their "
                                  "states are found, but their parameters are not part of the model, and no optimizer "
                                  f"or state_dict sees them; write self.{name} = "
                                  f"nn.Module{'Dict' if isinstance(value, dict) else 'List'}(...)", stacklevel=5)
                yield from found


CONTAINERS = (list, tuple, set, dict)
_OWN = frozenset(vars(nn.Module()))


def _inside(path: str, value: Any) -> Iterator[tuple[str, nn.Module]]:
    """Yield the path and the module of every module in a container and in the containers inside."""
    if isinstance(value, nn.Module):
        yield path, value
    elif isinstance(value, CONTAINERS):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _inside(f"{path}[{key}]", item)
