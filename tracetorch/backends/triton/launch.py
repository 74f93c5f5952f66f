"""Running the kernels: how a scan is cut into programs, and what memory it takes."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
import triton.language as tl
from torch import Tensor

from ..program import Scanned, Shape
from .chain import Chain
from .loops import scan_backward, scan_forward
from .tuples import INTERPRETED

STEPS = 8
"""Rows in flight at a time; a power of two."""
SAVED_BYTES = 128
"""Of registers for the states that backward recomputes at a time: 8 rows of up to 4 float32 states, 4 rows of 7."""
AHEAD_BYTES = 8
"""Up to so much state (two float32) registers are left to load the next segment while this one is computed."""
PAIRED_BYTES = {"forward": 32, "backward": 4}
"""Up to so much float32 state a thread has two lanes: half the instructions to address, load and store."""
LANES_PER_PROCESSOR = 1024
"""Elements that keep a multiprocessor busy: below, programs are one warp; above, each takes several rows in turn."""
DENSE_LANES = 16384
"""Up to so many lanes, far too few for any device, waiting is all: every state is saved, none is recomputed in turn."""
SHORT = 16
"""In scans of at most so many steps forward, too, takes several rows in turn: what it prepares is no small part."""
UNIT = 16
"""Where it divides the distances between rows and steps, kernels are told so, and load and store in wide words."""
LIMITS = (96, 128, 168, 255)
"""Registers at which 20, 16, 12 and 8 warps fit."""
SPARED = 32
"""Bytes that a thread may spill to stay below a limit: what it needs again after the loop over time."""
COMPUTE = {torch.float32: tl.float32, torch.float64: tl.float64}
IO = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def steps_of(chain: Chain, T: int, dtype: torch.dtype) -> int:
    """Return the rows of a segment: no more than there are, fewer where backward has no registers for their states."""
    most = SAVED_BYTES * 8 // dtype.itemsize        # a row of float64 takes twice the registers as well
    return _halved(min(STEPS, max(1, 1 << T.bit_length() >> 1)), chain, dtype, most)


def keep_of(chain: Chain, steps: int, dtype: torch.dtype) -> int:
    """Return the rows of a segment whose states fit in registers."""
    return _halved(steps, chain, dtype, SAVED_BYTES)


def _halved(steps: int, chain: Chain, dtype: torch.dtype, most: int) -> int:
    while steps > 1 and steps * len(chain.states) * dtype.itemsize > most:
        steps //= 2
    return steps


def is_dense(chain: Chain, shape: Shape, dtype: torch.dtype) -> bool:
    """Say whether the states of every row are saved."""
    return shape.size <= DENSE_LANES and len(chain.states) * dtype.itemsize <= AHEAD_BYTES


def checkpoints(chain: Chain, shape: Shape, dtype: torch.dtype) -> int:
    """Count the saved rows of states: one for each segment but the first, and one for the rows that are left over."""
    every = 1 if is_dense(chain, shape, dtype) else steps_of(chain, shape.T, dtype)
    return -(-shape.T // every) - 1


@functools.cache
def processors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def lanes_of(shape: Shape, device: torch.device, busy: int) -> int:
    """Return the elements that are in flight: whole rows of neurons, as many as keep the device busy.

    In backward each lane reduces its parameter gradients over the rows it takes one after the other, so this also
    bounds the memory for their partial sums.
    """
    groups = max(1, min(shape.outer, shape.size // (processors(device) * busy)))
    return -(-shape.outer // groups) * shape.N * shape.inner


def unit_of(shape: Shape, x: Tensor, x_stride: int, gy: Tensor | None = None, gy_stride: int = 0) -> int:
    """Return what divides every distance and the addresses in bytes: UNIT or 1, whatever T and the batch are."""
    address = x.data_ptr() | (0 if gy is None else gy.data_ptr())
    return UNIT if (shape.N * shape.inner | x_stride | gy_stride | address) % UNIT == 0 else 1


@functools.lru_cache(maxsize=256)
def constants(chain: Chain, steps: int, dtype: torch.dtype, ranks: tuple[int, ...], which: str, *, few: bool = False,
              wide: bool = False, dense: bool = False, unit: int = 1) -> dict:
    """Return the constants of the "forward" or the "backward" kernel; they are shared, so copy them to change one.

    steps: per segment. few: too few lanes to keep the device busy. wide: too many for 32 bits. dense: every state is
    saved. unit: divides every distance.
    """
    warps, held = 1 if few else 4, len(chain.states) * dtype.itemsize
    paired = unit == UNIT and not few and dtype is torch.float32 and held <= PAIRED_BYTES[which]
    options = {
        "C": chain, "RANKS": ranks, "RANDOM": chain.draws, "COMPUTE": COMPUTE[dtype],
        "INDEX": tl.int64 if wide else tl.int32, "STEPS": steps,
        "BLOCK": 32 * warps * (2 if paired else 1), "DENSE": dense, "UNIT": unit, "num_warps": warps,
        "enable_fp_fusion": False,
    }  # fmt: skip
    if which == "backward":
        keep = keep_of(chain, steps, dtype)
        limit = 128 if paired else 168 if keep < steps else None
        options |= {"AHEAD": held <= AHEAD_BYTES, "KEEP": keep, "maxnreg": limit}
    return options


def _options(chain: Chain, shape: Shape, lanes: int, unit: int, x: Tensor, dtype: torch.dtype, par: Sequence[Tensor],
             which: str, save: bool = True) -> dict:
    few = lanes < processors(x.device) * LANES_PER_PROCESSOR and not INTERPRETED
    wide = shape.size + lanes >= 2**31 - 1024
    ranks = tuple([p.ndim for p in par])
    dense = save and is_dense(chain, shape, dtype)
    return constants(chain, steps_of(chain, shape.T, dtype), dtype, ranks, which, few=few, wide=wide, dense=dense,
                     unit=unit)


def new(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Allocate memory that a kernel is about to fill; tests fill it with NaN to see what is not."""
    return torch.empty(shape, dtype=dtype, device=device)


def rows(t: Tensor, step: torch.Size) -> tuple[Tensor, int]:
    """Return `t` [T, *step] or [*step] with every step contiguous, and the distance between steps."""
    if t.is_contiguous():
        return t, step.numel()
    return (t, t.stride(0)) if t.ndim > len(step) and t[0].is_contiguous() else (t.contiguous(), step.numel())


def forward(chain: Chain, shape: Shape, x: Tensor, start: Sequence[Tensor] | None, par: Sequence[Tensor],
            rng: Tensor | None, dtype: torch.dtype, save: bool) -> Scanned:
    """Run a scan over x [T, *step] or [*step]; `save` the states that `backward` needs."""
    step = shape.step
    x, stride = rows(x, step)
    lanes = lanes_of(shape, x.device, 2 * LANES_PER_PROCESSOR) if shape.T <= SHORT else shape.size
    unit = unit_of(shape, x, stride)
    options = _options(chain, shape, lanes, unit, x, dtype, par, "forward", save)
    y = new(x.shape, x.dtype, x.device)
    final = [new(step, dtype, x.device) for _ in chain.states]
    recordings = [new(x.shape, dtype, x.device) for _ in range(chain.recordings)]
    saved = None
    if save:
        count = checkpoints(chain, shape, dtype)
        saved = new((count, len(chain.states), shape.size), dtype, x.device)
    if shape.size:
        with on_device(x.device):
            _launch(
                scan_forward, lanes, options, x, y, _contiguous(start), tuple(final), saved, tuple(recordings),
                tuple(par), rng, shape.T, shape.size // unit, shape.N, shape.inner, stride // unit, lanes // unit,
                -(-shape.size // lanes),
            )  # fmt: skip
    return Scanned(y, final, recordings, saved)


def backward(chain: Chain, shape: Shape, x: Tensor, gy: Tensor | None, start: Sequence[Tensor] | None,
             saved: Tensor | None, gfinal: Sequence[Tensor | None], grecordings: Sequence[Tensor | None],
             par: Sequence[Tensor], rng: Tensor | None, dtype: torch.dtype, needs: tuple[bool, bool, bool],
             ) -> tuple[Tensor | None, list | None, Tensor | None]:
    """Return the cotangents of x, of the start states and of the parameters ([P, N]), each only if needed."""
    step, lanes = shape.step, lanes_of(shape, x.device, LANES_PER_PROCESSOR)
    x, x_stride = rows(x, step)
    gy, gy_stride = (None, 0) if gy is None else rows(gy, step)
    unit = unit_of(shape, x, x_stride, gy, gy_stride)
    options = _options(chain, shape, lanes, unit, x, dtype, par, "backward")
    gx = new(x.shape, x.dtype, x.device) if needs[0] else None
    gstart = [new(step, dtype, x.device) for _ in chain.states] if needs[1] else None
    sums = new((len(par), lanes), dtype, x.device) if needs[2] else None
    if shape.size:
        with on_device(x.device):
            _launch(
                scan_backward, lanes, options, x, gy, _contiguous(start), saved, _all_or_none(gfinal, step, dtype, x),
                _all_or_none(grecordings, x.shape, dtype, x), tuple(par), rng, gx, gstart and tuple(gstart), sums,
                shape.T, shape.size // unit, shape.N, shape.inner, x_stride // unit, gy_stride // unit, lanes // unit,
                -(-shape.size // lanes),
            )  # fmt: skip
    if sums is not None and not shape.size:
        sums = sums.new_zeros((len(par), shape.N))
    elif sums is not None:
        sums = sums.view(len(par), -1, shape.N, shape.inner).sum((1, 3))
    return gx, gstart, sums


def per_parameter(sums: Tensor, par: Sequence[Tensor]) -> list[Tensor]:
    """Bring [P, N] to the shape of each parameter."""
    return [g if p.ndim else g.sum() for g, p in zip(sums, par, strict=True)]


_limits: dict[tuple, int] = {}


def _launch(kernel, lanes: int, options: dict, x: Tensor, *arguments) -> None:
    """Run a kernel; one that spills registers is allowed more the next time."""
    key = (kernel, options["C"], options["STEPS"], x.dtype, x.device)
    limit = {"maxnreg": _limits[key]} if key in _limits else {}
    compiled = kernel[-(-lanes // options["BLOCK"]),](x, *arguments, **options | limit)
    if 4 * getattr(compiled, "n_spills", 0) > SPARED:
        _limits[key] = roomier(compiled.n_regs)


def roomier(registers: int) -> int:
    """Return the next limit above what a kernel that spills was compiled to use."""
    return next((limit for limit in LIMITS if limit > registers), LIMITS[-1])


def on_device(device: torch.device):
    """Triton launches on the current device, which need not be that of the tensors; its interpreter is NumPy."""
    return torch.cuda.device(device) if device.type == "cuda" else np.errstate(all="ignore")


def _contiguous(tensors: Sequence[Tensor] | None) -> tuple[Tensor, ...] | None:
    return None if tensors is None else tuple(t.resolve_neg().contiguous() for t in tensors)


def _all_or_none(given: Sequence[Tensor | None], shape: torch.Size, dtype: torch.dtype,
                 like: Tensor) -> tuple[Tensor, ...] | None:
    """Return every cotangent, with zeros for those that are missing; None where all are."""
    if all(g is None for g in given):
        return None
    return tuple(like.new_zeros(shape, dtype=dtype) if g is None else g.resolve_neg().contiguous() for g in given)
