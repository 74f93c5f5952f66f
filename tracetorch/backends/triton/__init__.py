"""Scans on a GPU: hand-written Triton stages where every stage has one, derived ones otherwise, in one loop."""

from __future__ import annotations

try:
    import triton  # noqa: F401
except ImportError as error:
    raise ImportError("the triton backend needs Triton: pip install triton") from error

from .aot import aot, compiled
from .backend import program_of, why_not_here

__all__ = ["aot", "compiled", "program_of", "why_not_here"]
