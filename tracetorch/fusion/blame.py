"""Names the stage, the line and the code for which a step cannot be captured, and the line that called the library."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Iterable
from pathlib import Path
from types import FrameType, TracebackType

import torch

from ..stages import Stage

WIDTH = 60      # of the code that is quoted
_PACKAGE = Path(__file__).parents[1]
_MACHINERY = (str(Path(torch.__file__).parent), str(_PACKAGE / "fusion"), str(_PACKAGE / "pipeline.py"),
              str(_PACKAGE / "layers" / "compose.py"))
LIBRARY = (str(Path(torch.__file__).parent), str(_PACKAGE))
"""Where code lies that may ask what a captured tensor is like: it decides nothing by it."""


def here() -> str:
    """Return "stage Adaptive, line 12 of neurons.py (`code`): " for the line that is running, "" outside a stage."""
    frame: FrameType | None = sys._getframe(1)
    frames = []
    while frame is not None:
        frames.append((frame, frame.f_lineno))
        frame = frame.f_back
    return _describe(frames)


def where(traceback: TracebackType | None) -> str:
    """Return the same for the line that raised."""
    frames = []
    while traceback is not None:
        frames.append((traceback.tb_frame, traceback.tb_lineno))
        traceback = traceback.tb_next
    return _describe(reversed(frames))


def users_level() -> int:
    """Return the `stacklevel` by which a warning of the calling function points at a line outside of the library."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(LIBRARY):
        frame, level = frame.f_back, level + 1
    return level


def _describe(frames: Iterable[tuple[FrameType, int]]) -> str:
    """Take the innermost line that is no machinery, and the stage that it runs in."""
    line = ""
    for frame, number in frames:
        name = frame.f_code.co_filename
        if not line and not name.startswith(_MACHINERY):
            code = linecache.getline(name, number).strip()
            code = f" (`{code[:WIDTH]}{'...' * (len(code) > WIDTH)}`)" if code else ""
            line = f", line {number} of {Path(name).name}{code}"
        stage = frame.f_locals.get("self")
        if isinstance(stage, Stage):
            return f"stage {type(stage).__name__}{line}: "
    return ""
