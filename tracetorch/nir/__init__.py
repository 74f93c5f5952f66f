"""NIR: networks from and to the neuromorphic intermediate representation."""

from __future__ import annotations

from typing import Any

from torch import nn

from .reading import from_nir, read
from .report import Report
from .writing import to_nir, write

__all__ = ["from_nir", "to_nir", "nir_report"]


def nir_report(what: Any, dt: float, method: str | None = None, *,
               input_shape: tuple[int, ...] | None = None) -> Report:
    """Return what would become of each node or layer: a table that says exact, rescaled or refused, and why.

    Args:
        what: a `nir.NIRGraph` or the path of a file, on its way to `tt.from_nir`; or a module, on its way to
            `tt.to_nir`.
        dt, method, input_shape: as for those.

    Raises:
        ValueError: a graph that can't be run; shapes that are not known; another dt or method.
        ImportError: the package nir is not installed.
    """
    if isinstance(what, nn.Module):
        return write(what, dt, method, input_shape).report
    return read(what, dt, method or "euler")[1]
