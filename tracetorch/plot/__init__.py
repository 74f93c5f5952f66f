"""Pictures of neurons and of what they do (extra `plot`): each function takes and returns axes."""

from .network import activity
from .neuron import distribution, response, surrogate
from .spikes import raster, rates, traces

__all__ = ["activity", "distribution", "raster", "rates", "response", "surrogate", "traces"]
