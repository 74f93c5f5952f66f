"""One file per stage; `base` has what they share, `parameters` what they declare."""

from .adaptive import Adaptive
from .base import PLACES, Stage
from .dual import Dual
from .firing import Binary, Scaled, Ternary
from .membrane import EMA, Integrator, Leaky
from .parameters import Bias, Decay, Parameter, Positive, Real, State
from .recurrent import Recurrent
from .refractory import Refractory, RelativeRefractory
from .reset import Reset
from .synaptic import Current, Synaptic

__all__ = [
    "PLACES", "Stage", "State", "Parameter", "Decay", "Positive", "Bias", "Real",
    "Dual", "Synaptic", "Current", "Recurrent", "Leaky", "EMA", "Integrator", "Adaptive", "Binary", "Ternary",
    "Refractory", "RelativeRefractory", "Reset", "Scaled",
]
