"""Write tracetorch/snn/__init__.pyi, which tells editors the arguments of the ready-made classes.

    python tools/stubs.py            write it
    python tools/stubs.py --check    exit with 1 if it is out of step
"""

import inspect
import pathlib
import sys
import textwrap

from tracetorch import snn
from tracetorch.layers.neuron import Neuron

PATH = pathlib.Path(snn.__file__).with_suffix(".pyi")
HEAD = '''"""Written by tools/stubs.py from the compositions; do not edit."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..layers.layer import SpikingLayer as Layer
from ..layers.neuron import Neuron
'''


def stub(cls: type[Neuron]) -> str:
    """Return the declaration of a composed class for type checkers and editors."""
    arguments = ["self"]
    for name, argument in cls.__signature__.parameters.items():
        note = argument.annotation if isinstance(argument.annotation, str) else argument.annotation.__name__
        default = argument.default
        shown = repr(default) if isinstance(default, (int, float)) or default is None else "..."
        arguments.append(f"{name}: {note}" + ("" if default is inspect.Parameter.empty else f" = {shown}"))
    lines = [f"class {cls.__name__}(Neuron):"]
    lines += [f"    {name}: Tensor | None" for name in cls.pipeline.states]
    for name in cls.pipeline.parameters:
        lines += [f"    {name}: Tensor", f"    raw_{name}: Tensor"]
    if cls.pipeline.fires:
        lines += ["    spike_fn: Callable[[Tensor], Tensor]", "    quant_fn: Callable[[Tensor], Tensor]"]
    wrapped = textwrap.fill(", ".join(arguments), 110, initial_indent=" " * 8, subsequent_indent=" " * 8)
    return "\n".join([*lines, "    def __init__(", wrapped, "    ) -> None: ...", ""])


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
