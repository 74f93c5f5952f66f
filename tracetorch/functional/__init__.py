"""Functions: decays, transforms, spike functions and surrogates, quantisers, random draws."""

from .decay import (
    decay_to_halflife,
    decay_to_timesteps,
    halflife_to_decay,
    timesteps_to_decay,
)
from .quantise import probabilistic_ste, round_ste, stochastic_round_ste
from .random import uniform
from .slopes import Arctan, FastSigmoid, Sigmoid
from .spike import sigmoid4x
from .surrogates import (
    CircDist,
    HeaviCirc,
    HeaviErfc,
    HeaviTanh,
    Logistic,
    MultiSpike,
    SuperSpike,
    Triangle,
    circ_dist,
    heavi_circ,
    heavi_erfc,
    heavi_tanh,
    logistic,
    multi_spike,
    sign,
    super_spike,
    surrogate,
    threshold,
    triangle,
)
from .transforms import mamba_scale, sigmoid_inverse, softplus_inverse

__all__ = [
    "Arctan",
    "CircDist",
    "FastSigmoid",
    "HeaviCirc",
    "HeaviErfc",
    "HeaviTanh",
    "Logistic",
    "MultiSpike",
    "Sigmoid",
    "SuperSpike",
    "Triangle",
    "circ_dist",
    "decay_to_halflife",
    "decay_to_timesteps",
    "halflife_to_decay",
    "heavi_circ",
    "heavi_erfc",
    "heavi_tanh",
    "logistic",
    "mamba_scale",
    "multi_spike",
    "probabilistic_ste",
    "round_ste",
    "sigmoid4x",
    "sigmoid_inverse",
    "sign",
    "softplus_inverse",
    "stochastic_round_ste",
    "super_spike",
    "surrogate",
    "threshold",
    "timesteps_to_decay",
    "triangle",
    "uniform",
]
