"""The matrix library: float32 products whose bits depend on nothing but their numbers, built once, called by address.

Every element of a product is one chain: its bias (or +0), then k ascending, one fused multiply-add after another. So
any batch, any number of threads, any vector width, and skipping zeros or not give the same bits.
"""

from __future__ import annotations

import ctypes
import functools
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .. import build

TEXT = Path(__file__).parent / "matrix.cpp"
VECTOR = 16     # floats of the widest vector
ADDRESS, NUMBER = ctypes.c_void_p, ctypes.c_int64
SIGNATURES = {
    "float": [], "double": [], "lanes": [],
    "packed_size": [NUMBER] * 2,
    "refresh": [ADDRESS, *[NUMBER] * 3, ADDRESS, ADDRESS, NUMBER],
    "sample": [ADDRESS, *[NUMBER] * 3],
    "finite": [ADDRESS, NUMBER, NUMBER],
    "count": [ADDRESS, NUMBER, NUMBER, ADDRESS, NUMBER],
    "refreshed": [ADDRESS],
    "gradients": [ADDRESS],
    "list": [ADDRESS, NUMBER, NUMBER, *[ADDRESS] * 3, NUMBER],
    "dense": [ADDRESS, NUMBER, ADDRESS, *[NUMBER] * 3, ADDRESS, ADDRESS, NUMBER],
    "listed": [*[ADDRESS] * 4, NUMBER, ADDRESS, NUMBER, NUMBER, ADDRESS, ADDRESS, NUMBER],
    "chunk": [],
    "weights": [ADDRESS, ADDRESS, *[NUMBER] * 3, ADDRESS, NUMBER],
    "weights_listed": [*[ADDRESS] * 3, *[NUMBER] * 4, *[ADDRESS] * 6, NUMBER],
}  # fmt: skip


def why_not() -> str | None:
    """Return why there is no library here, None where there is one; a constant while a graph is made."""
    return _why_not()


why_not._dynamo_marked_constant = True    # type: ignore[attr-defined]


@functools.cache
def _why_not() -> str | None:
    try:
        lanes = library().matrix_lanes()
    except RuntimeError as error:
        return str(error)
    return None if lanes else "the matrix library has code for AVX2 and AVX-512 only"


@functools.cache
def library() -> ctypes.CDLL:
    """Return the library; the first call of a machine compiles it.

    Raises:
        RuntimeError: there is no compiler, or it fails.
    """
    return declared(build.load(TEXT.read_text()))


def declared(library: ctypes.CDLL) -> ctypes.CDLL:
    """Return a library whose functions know their arguments."""
    for name, arguments in SIGNATURES.items():
        function = getattr(library, f"matrix_{name}")
        function.argtypes, function.restype = arguments, NUMBER
    return library


def table(dtype: torch.dtype = torch.float32) -> int:
    """Return the address of `tt::Matrix<T>` (matrix.h), for generated code; float32 or float64."""
    return {torch.float32: library().matrix_float, torch.float64: library().matrix_double}[dtype]()


class Packed:
    """A matrix W [N, K] as the library reads it: W^T [K, N]; with `transposed` W itself.

    `update` reads all of W, and packs it again where it is not what it was. (PyTorch counts versions, but writes
    through `.data`, `numpy()` or memory shared with others don't count.) Reading costs a tenth of packing.
    """

    def __init__(self, transposed: bool = False) -> None:
        self.transposed = transposed
        self.finite = True
        self.address = 0
        self._shape: tuple[int, ...] = ()
        self._buffer = torch.empty(0)
        self._known = (ctypes.c_uint64 * 3)()
        self._known_address = ctypes.addressof(self._known)

    def _make_room(self, shape: tuple[int, ...]) -> None:
        self._shape, self._known[0] = shape, 0
        K, N = shape if self.transposed else shape[::-1]
        self._buffer = torch.empty(library().matrix_packed_size(K, N) + VECTOR)
        self.address = (self._buffer.data_ptr() + 63) // 64 * 64

    def update(self, weight: Tensor, threads: int) -> Packed:
        """Hold `weight`: float32, contiguous, on the CPU."""
        N, K = shape = weight.shape
        if shape != self._shape:
            self._make_room(shape)
        self.finite = library().matrix_refresh(
            weight.data_ptr(), K, N, self.transposed, self.address, self._known_address, threads
        ) == 1
        return self

    def times(self, x: Tensor, weight: Tensor, bias: Tensor | None, threads: int) -> Tensor:
        """Return x [M, K] times W^T, plus bias; `update` and `product` in one call."""
        N, K = shape = weight.shape
        if shape != self._shape:
            self._make_room(shape)
        y = torch.empty((x.shape[0], N))
        slots = array("q", (
            x.shape[0], K, N, threads, x.data_ptr(), weight.data_ptr(), self.address, self._known_address,
            0 if bias is None else bias.data_ptr(), y.data_ptr(),
        ))  # fmt: skip
        library().matrix_refreshed(slots.buffer_info()[0])
        return y


class Lists(NamedTuple):
    """The non-zeros of a matrix [M, K]: row m has `places` and `values` from ends[m] to ends[m + 1]."""

    shape: tuple[int, int]
    ends: Tensor
    places: Tensor
    values: Tensor

    @classmethod
    def of(cls, x: Tensor, threads: int) -> Lists:
        """Return the lists of x [M, K], contiguous."""
        lists = cls._counted(x, threads)
        library().matrix_list(x.data_ptr(), *x.shape, *map(_place, lists[1:]), threads)
        return lists

    @classmethod
    def _counted(cls, x: Tensor, threads: int) -> Lists:
        """Return lists as long as those of x, still to be filled."""
        M, K = x.shape
        ends = torch.empty(M + 1, dtype=torch.int32)
        count = library().matrix_count(x.data_ptr(), M, K, ends.data_ptr(), threads)
        return cls((M, K), ends, torch.empty(count, dtype=torch.int32), torch.empty(count))

    def dense(self) -> Tensor:
        """Return the matrix."""
        x = torch.zeros(self.shape)
        rows = torch.repeat_interleave(torch.arange(self.shape[0]), self.ends.diff())
        x[rows, self.places.long()] = self.values
        return x


def density(x: Tensor) -> float:
    """Return the fraction of x [M, K] that is not zero, of a sample of its rows.

    The stride of the sample is a prime, so that a batch folded into M is not sampled at always the same elements.
    """
    M, K = x.shape
    every = 61 if M >= 1024 else 17 if M >= 256 else 5 if M >= 64 else 1
    rows = (M + every - 1) // every
    return library().matrix_sample(x.data_ptr(), M, K, every) / max(1, rows * K)


def product(x: Tensor, packed: Packed, N: int, bias: Tensor | None, threads: int) -> Tensor:
    """Return x [M, K] times what is packed [K, N], plus bias [N]."""
    M, K = x.shape
    y, bias_at = torch.empty((M, N)), None if bias is None else bias.data_ptr()
    library().matrix_dense(x.data_ptr(), M, packed.address, 0, K, N, bias_at, y.data_ptr(), threads)
    return y


def product_skipping(
    x: Tensor, packed: Packed, N: int, bias: Tensor | None, threads: int
) -> tuple[Tensor, Lists]:  # fmt: skip
    """Return the same bits as `product`, zeros of x skipped, and the lists; what is packed must be finite."""
    M, K = x.shape
    lists, y = Lists._counted(x, threads), torch.empty((M, N))
    library().matrix_listed(
        x.data_ptr(), *map(_place, lists[1:]), M, packed.address, K, N, _place(bias), y.data_ptr(), threads
    )
    return y, lists


def weight_gradient(x: Tensor | Lists, g: Tensor, threads: int) -> Tensor:
    """Return g^T x [N, K] of g [M, N] and x [M, K] or its lists; lists give the bits of x where g is finite.

    Sums run over blocks of rows, ascending, and the blocks' sums are added one after another.
    """
    (M, K), N, call = x.shape, g.shape[1], library()
    dw = torch.empty((N, K))
    if isinstance(x, Tensor):
        call.matrix_weights(x.data_ptr(), g.data_ptr(), M, K, N, dw.data_ptr(), threads)
        return dw
    g = F.pad(g, (0, -N % VECTOR)) if N % VECTOR else g
    total, chunks = torch.empty((K, N)), -(-M // call.matrix_chunk())
    scratch = torch.empty(chunks * (K + 1), dtype=torch.int32), torch.empty_like(x.places), torch.empty_like(x.values)
    call.matrix_weights_listed(
        *map(_place, x[1:]), M, K, N, g.shape[1], g.data_ptr(), *map(_place, scratch), total.data_ptr(),
        dw.data_ptr(), threads,
    )
    return dw


def gradients(
    g: Tensor, x: Tensor | None, weight: Tensor, needs: Sequence[bool], threads: int
) -> list[Tensor | None]:  # fmt: skip
    """Return what is needed of g W [M, K], g^T x [N, K] and the sum of g [M, N] over its rows, M being small.

    The bits of the first two are those of `product` and `weight_gradient`; W is read where it lies.
    """
    (M, N), K = g.shape, weight.shape[1]
    shapes = ((M, K), (N, K), (N,))
    out = [torch.empty(shape) if need else None for shape, need in zip(shapes, needs, strict=True)]
    slots = array("q", (
        M, K, N, threads, g.data_ptr(), 0 if x is None else x.data_ptr(), weight.data_ptr(),
        *[0 if t is None else t.data_ptr() for t in out],
    ))  # fmt: skip
    library().matrix_gradients(slots.buffer_info()[0])
    return out


def finite(x: Tensor, threads: int) -> bool:
    """Say whether a contiguous tensor holds no inf and no NaN."""
    return bool(library().matrix_finite(x.data_ptr(), x.numel(), threads))


def _place(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
