"""activity: what a network does with an input: who fires how often, what it costs, where no gradient gets through."""

from .measure import activity
from .report import Neurons, Report, Synapses

__all__ = ["Neurons", "Report", "Synapses", "activity"]
