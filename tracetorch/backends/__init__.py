"""What runs a scan: eager stepping, compiled C++, Triton. `choose` says which, `plan` binds it to a step."""

from .choose import FUSED, NAMES, backend, checked_name, load, requested
from .plan import Call, InGraph, Plan, bind, conditions, decide, fused, say_once
from .program import Refused

__all__ = ["FUSED", "NAMES", "Call", "InGraph", "Plan", "Refused", "backend", "bind", "checked_name", "conditions",
           "decide", "fused", "load", "requested", "say_once"]
