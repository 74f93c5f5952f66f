"""Write the text of every generated kernel to a folder, to see what a change of the package does to it.

    python tools/kernels.py FOLDER      then change something, write to another folder, and `diff -r` the two

The 35 ready-made classes, in C++ and in Triton, forward and backward, with smooth and with hard spikes, float32 and
float64, and padded.
"""

import dataclasses
import pathlib
import sys

import torch

import tracetorch as tt
from tracetorch import backends
from tracetorch.padding import Padded


def texts(name: str, backend: str, hard: bool, dtype: torch.dtype, pad: bool) -> str:
    """Return what one class is compiled from."""
    cls = getattr(tt.snn, name)
    given = {"quant_fn": tt.functional.round_ste()} if hard and cls.pipeline.fires else {}
    layer = cls(4, dtype=dtype, **given)
    step, call = layer.step_and_call(dtype, torch.device("cpu"))
    if pad:
        step = dataclasses.replace(step, pipeline=Padded(step.pipeline))
    text, every = backends.fused(backend, step, call).outline()
    return f"// one kept state in {every} steps\n{text}\n"


def main(folder: pathlib.Path) -> None:
    for name in tt.snn.__all__[1:]:
        for backend in ("cpp", "triton"):
            for hard, dtype, pad in ((False, torch.float32, False), (True, torch.float32, False),
                                     (True, torch.float64, False), (False, torch.float32, True)):
                title = f"{name}{'-hard' if hard else ''}{'-padded' if pad else ''}-{str(dtype)[6:]}.txt"
                path = folder / backend / title
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(texts(name, backend, hard, dtype, pad))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
