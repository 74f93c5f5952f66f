"""What a walk over the things that a step is made from has seen, and whether it is still so."""

from __future__ import annotations

import operator
import types
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

MISSING, EMPTY = object(), object()
INTERNAL = frozenset(vars(nn.Module())) - {"training"}


def content_of(cell: types.CellType) -> Any:
    """Return what a cell of a closure holds."""
    try:
        return cell.cell_contents
    except ValueError:
        return EMPTY


class Witness:
    """What a walk has found: a token by value, and every place that was read, with what was there."""

    def __init__(self) -> None:
        self.token: tuple = ()
        self.entries: list[tuple[Any, Any, Any]] = []       # a mapping, a key, what was there
        self.attributes: list[tuple[Any, str, Any]] = []    # an object, the name of an attribute, what was there
        self.sizes: list[tuple[Any, int]] = []              # a container, how many it held
        self.cells: list[tuple[types.CellType, Any]] = []
        self.lists: list[tuple[list, tuple]] = []
        self.values: list[tuple[Callable[[], Any], Any]] = []   # what changes in place: a reading, what was read

    def holds(self) -> bool:
        """Say whether every place still holds the very object that was found there."""
        for mapping, key, value in self.entries:
            if mapping.get(key, MISSING) is not value:
                return False
        for thing, name, value in self.attributes:
            if getattr(thing, name, MISSING) is not value:
                return False
        for cell, value in self.cells:
            if content_of(cell) is not value:
                return False
        for content, value in self.lists:
            if len(content) != len(value) or not all(map(operator.is_, content, value)):
                return False
        for container, size in self.sizes:
            if len(container) != size:
                return False
        return all(read() == value for read, value in self.values)

    def restore(self) -> None:
        """Put back what has been replaced since: calling a function to capture it must not count as a call."""
        for mapping, key, value in self.entries:
            if isinstance(mapping, (dict, Own)) and value is not MISSING and mapping.get(key, MISSING) is not value:
                mapping[key] = value
        for thing, name, value in self.attributes:
            if value is not MISSING and getattr(thing, name, MISSING) is not value:
                setattr(thing, name, value)
        for cell, value in self.cells:
            if value is not EMPTY:
                cell.cell_contents = value
        for content, value in self.lists:
            content[:] = value


class Own:
    """The attributes of an nn.Module but those by which torch runs it: those have been looked at."""

    def __init__(self, held: dict[str, Any]) -> None:
        self.held = held

    def __len__(self) -> int:
        return len(self.held)

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.held if name not in INTERNAL)

    def __getitem__(self, name: str) -> Any:
        return self.held[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.held[name] = value

    def get(self, name: str, default: Any) -> Any:
        return self.held.get(name, default)

    def keys(self) -> set[str]:
        return set(self)
