"""Scans on the CPU: the captured step as C++ in a hand-written loop, compiled when it is first used."""

from .backend import program_of, why_not_here

__all__ = ["program_of", "why_not_here"]
