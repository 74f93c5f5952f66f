"""The ready-made neurons, each of them a composition."""

from ..layers.compose import compose
from ..layers.layer import SpikingLayer as Layer
from ..stages import EMA, Binary, Dual, Recurrent, Scaled, Synaptic, Ternary
from .tether import ALIF, LIF, PLIF

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

__all__ = [
    "Layer",
    "LI", "DLI", "SLI", "DSLI", "LIEMA", "DLIEMA", "SLIEMA", "DSLIEMA",
    "LIB", "DLIB", "SLIB", "DSLIB", "RLIB", "DRLIB", "SRLIB", "DSRLIB",
    "LIT", "DLIT", "SLIT", "DSLIT", "RLIT", "DRLIT", "SRLIT", "DSRLIT",
    "LITS", "DLITS", "SLITS", "DSLITS", "RLITS", "DRLITS", "SRLITS", "DSRLITS",
    "LIF", "PLIF", "ALIF",
]

del EMA, Binary, Dual, Recurrent, Scaled, Synaptic, Ternary, compose      # tt.EMA is no neuron
