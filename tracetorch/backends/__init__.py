"""What runs a scan: eager stepping, compiled C++, Triton; `choose` says which."""

from .choose import FUSED, NAMES, backend, checked_name, load, requested, select

__all__ = ["FUSED", "NAMES", "backend", "checked_name", "load", "requested", "select"]
