"""From a composed step to text: trace it, lower it, spell it in a backend's language, remember the result."""

from .aot import aot

__all__ = ["aot"]
