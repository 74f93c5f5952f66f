"""The demo of `python -m tracetorch`: a spiking network that learns handwritten digits."""

from .digits import run

__all__ = ["run"]
