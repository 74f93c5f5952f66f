"""tracetorch: spiking neurons composed from small stages, run fused over time."""

from typing import Any

from . import functional, fusion, snn
from .backends import backend
from .compose import compose
from .fusion.explain import explain
from .layer import Layer
from .model import Model, TTcompile, TTdecompile, detach_states, load_states, save_states, zero_states
from .scan import scan
from .stages import (
    EMA,
    Adaptive,
    Bias,
    Binary,
    Decay,
    Dual,
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

__all__ = [
    "compose", "scan", "backend", "explain", "snn", "functional", "fusion", "Layer", "Model",
    "Stage", "State", "Parameter", "Decay", "Positive", "Bias", "Real",
    "Dual", "Synaptic", "Recurrent", "Leaky", "EMA", "Adaptive", "Binary", "Ternary", "Refractory",
    "RelativeRefractory", "Reset", "Scaled",
    "zero_states", "detach_states", "save_states", "load_states", "TTcompile", "TTdecompile",
]


def __getattr__(name: str) -> Any:
    """Import `tt.plot` where it is used: it needs the extra `plot`."""
    if name == "plot":
        import importlib

        return importlib.import_module(f"{__name__}.plot")
    raise AttributeError(f"module 'tracetorch' has no attribute {name!r}")
