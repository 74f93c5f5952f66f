"""The ready-made neurons, each of them a composition."""

from ..compose import compose
from ..functional.surrogates import Arctan
from ..layer import SpikingLayer as Layer
from ..stages import EMA, Adaptive, Binary, Dual, Recurrent, Reset, Scaled, Synaptic, Ternary

LI, DLI = compose(), compose(Dual)
SLI, DSLI = compose(Synaptic), compose(Dual, Synaptic)
LIEMA, DLIEMA = compose(EMA), compose(Dual, EMA)
SLIEMA, DSLIEMA = compose(Synaptic, EMA), compose(Dual, Synaptic, EMA)

LIB, DLIB = compose(Binary), compose(Dual, Binary)
SLIB, DSLIB = compose(Synaptic, Binary), compose(Dual, Synaptic, Binary)
RLIB, DRLIB = compose(Recurrent, Binary), compose(Dual, Recurrent, Binary)
SRLIB, DSRLIB = compose(Synaptic, Recurrent, Binary), compose(Dual, Synaptic, Recurrent, Binary)

LIT, DLIT = compose(Ternary), compose(Dual, Ternary)
SLIT, DSLIT = compose(Synaptic, Ternary), compose(Dual, Synaptic, Ternary)
RLIT, DRLIT = compose(Recurrent, Ternary), compose(Dual, Recurrent, Ternary)
SRLIT, DSRLIT = compose(Synaptic, Recurrent, Ternary), compose(Dual, Synaptic, Recurrent, Ternary)

LITS, DLITS = compose(Scaled), compose(Dual, Scaled)
SLITS, DSLITS = compose(Synaptic, Scaled), compose(Dual, Synaptic, Scaled)
RLITS, DRLITS = compose(Recurrent, Scaled), compose(Dual, Recurrent, Scaled)
SRLITS, DSRLITS = compose(Synaptic, Recurrent, Scaled), compose(Dual, Synaptic, Recurrent, Scaled)

_TETHER = (Binary(biased=False), Reset("zero", detach=True))
_ONE_FOR_ALL = {"beta_rank": 0, "threshold_rank": 0, "spike_fn": Arctan(2.0)}

LIF = compose(*_TETHER, defaults=_ONE_FOR_ALL, name="LIF")
PLIF = compose(*_TETHER, defaults={"spike_fn": Arctan(2.0)}, name="PLIF")
ALIF = compose(Adaptive, *_TETHER, defaults={**_ONE_FOR_ALL, "rho_rank": 0, "kappa_rank": 0}, name="ALIF")

__all__ = [
    "Layer",
    "LI", "DLI", "SLI", "DSLI", "LIEMA", "DLIEMA", "SLIEMA", "DSLIEMA",
    "LIB", "DLIB", "SLIB", "DSLIB", "RLIB", "DRLIB", "SRLIB", "DSRLIB",
    "LIT", "DLIT", "SLIT", "DSLIT", "RLIT", "DRLIT", "SRLIT", "DSRLIT",
    "LITS", "DLITS", "SLITS", "DSLITS", "RLITS", "DRLITS", "SRLITS", "DSRLITS",
    "LIF", "PLIF", "ALIF",
]
