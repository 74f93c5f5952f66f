"""Write tracetorch/snn/__init__.pyi, which tells editors the arguments of the ready-made classes.

    python tools/stubs.py            write it
    python tools/stubs.py --check    exit with 1 if it is out of step
"""

import pathlib
import sys
import textwrap

from tracetorch import snn
from tracetorch.describe import stub

PATH = pathlib.Path(snn.__file__).with_suffix(".pyi")
HEAD = '''"""Written by tools/stubs.py from the compositions; do not edit."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..layer import SpikingLayer as Layer
from ..neuron import Neuron
'''


def text() -> str:
    """Return the whole file."""
    names = [name for name in snn.__all__ if name != "Layer"]
    exported = textwrap.fill(", ".join(f'"{name}"' for name in snn.__all__), 100, initial_indent="    ",
                             subsequent_indent="    ")
    classes = "\n".join(stub(getattr(snn, name)) for name in names)
    return f"{HEAD}\n__all__ = [\n{exported},\n]\n\n{classes}"


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(int(PATH.read_text() != text()))
    PATH.write_text(text())
