"""What a walk over the things that a step is made from has seen, and whether it is still so."""

from __future__ import annotations

import operator
import types
from collections.abc import Callable
from typing import Any

MISSING, EMPTY = object(), object()


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
        for read, value in self.values:     # noqa: SIM110  # a generator takes three times as long
            if read() != value:
                return False
        return True

    def restore(self) -> None:
        """Put back what has been replaced since: calling a function to capture it must not count as a call."""
        for mapping, key, value in self.entries:
            if isinstance(mapping, dict) and value is not MISSING and mapping.get(key, MISSING) is not value:
                mapping[key] = value
        for thing, name, value in self.attributes:
            if value is not MISSING and getattr(thing, name, MISSING) is not value:
                setattr(thing, name, value)
        for cell, value in self.cells:
            if value is not EMPTY:
                cell.cell_contents = value
        for content, value in self.lists:
            content[:] = value
