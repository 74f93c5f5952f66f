"""Pictures of neurons and of what they do (extra `plot`): each function takes and returns axes."""

from .activity import raster, rates, traces
from .neuron import distribution, response, surrogate

__all__ = ["distribution", "raster", "rates", "response", "surrogate", "traces"]
