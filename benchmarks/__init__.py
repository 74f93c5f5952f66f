"""Measured speed and memory, against eager stepping and against other libraries."""
