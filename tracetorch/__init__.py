"""tracetorch: spiking neurons composed from small stages, run fused over time."""

from typing import Any

from . import functional, fusion, snn
from .activity import activity
from .aot import aot
from .backends import backend
from .calibrate import calibrate
from .explain import explain
from .layers.compose import compose
from .layers.feedback import Feedback
from .layers.layer import Layer
from .layers.linear import Linear
from .layers.model import Model, TTcompile, TTdecompile
from .layers.states import detach_states, load_states, save_states, zero_states
from .nir import from_nir, nir_report, to_nir
from .scan import scan
from .snn import tether as _tether
from .stages import (
    EMA,
    Adaptive,
    Bias,
    Binary,
    Current,
    Decay,
    Dual,
    Integrator,
    Leaky,
    Parameter,
    Positive,
    Real,
    Recurrent,
    Refractory,
    RelativeRefractory,
    Reset,
    Scaled,
    Stage,
    State,
    Synaptic,
    Ternary,
)

__version__ = "1.0.0.dev0"

# Names that users know below, for what lies above: the lower floors import nothing of it.
fusion.aot = aot  # type: ignore[attr-defined]
for _name in _tether.FUNCTIONS:
    setattr(functional, _name, getattr(_tether, _name))
    functional.__all__.append(_name)

__all__ = [
    "compose", "scan", "backend", "explain", "aot", "snn", "functional", "fusion", "Layer", "Linear", "Feedback",
    "Model",
    "Stage", "State", "Parameter", "Decay", "Positive", "Bias", "Real",
    "Dual", "Synaptic", "Current", "Recurrent", "Leaky", "EMA", "Integrator", "Adaptive", "Binary", "Ternary",
    "Refractory", "RelativeRefractory", "Reset", "Scaled",
    "zero_states", "detach_states", "save_states", "load_states", "TTcompile", "TTdecompile",
    "activity", "calibrate", "from_nir", "to_nir", "nir_report",
]


def __getattr__(name: str) -> Any:
    """Import `tt.plot` where it is used: it needs the extra `plot`."""
    if name == "plot":
        import importlib

        return importlib.import_module(f"{__name__}.plot")
    raise AttributeError(f"module 'tracetorch' has no attribute {name!r}")
