"""What runs a scan: eager stepping, compiled C++, Triton. `choose` says which, `plan` binds it to a step."""

from .choose import FUSED, NAMES, backend, checked_name, load, requested
from .plan import Call, Plan, bind, conditions, decide, fused, scan_in_graph
from .program import Refused

__all__ = ["FUSED", "NAMES", "Call", "Plan", "Refused", "backend", "bind", "checked_name", "conditions", "decide",
           "fused", "load", "requested", "scan_in_graph"]
