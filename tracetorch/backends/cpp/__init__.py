"""Scans on the CPU: the step's code in C++, inside a hand-written loop over time."""

from .backend import name, scan, shown, why_not

__all__ = ["name", "scan", "shown", "why_not"]
