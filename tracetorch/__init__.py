"""tracetorch: spiking neurons composed from small stages, run fused over time."""

from . import functional, snn
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
    "compose", "scan", "backend", "explain", "snn", "functional", "Layer", "Model",
    "Stage", "State", "Parameter", "Decay", "Positive", "Bias", "Real",
    "Dual", "Synaptic", "Recurrent", "Leaky", "EMA", "Adaptive", "Binary", "Ternary", "Refractory",
    "RelativeRefractory", "Reset", "Scaled",
    "zero_states", "detach_states", "save_states", "load_states", "TTcompile", "TTdecompile",
]
