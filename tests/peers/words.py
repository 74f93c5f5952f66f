"""The tests of rows that are no neuron, by the library and what the left column says."""

from collections.abc import Callable
from typing import Any

WORDS: dict[tuple[str, str], Callable[[dict[str, Any]], None]] = {}


def word(library: str, there: str) -> Callable:
    """Name the row that a test is of; it is given the names of the page."""
    def named(test: Callable) -> Callable:
        WORDS[library, there] = test
        return test
    return named
