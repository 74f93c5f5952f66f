"""The matrix library: float32 products whose bits depend on nothing but their numbers, built once, called by address.

Every element of a product is one chain: its bias (or +0), then k ascending, one fused multiply-add after another. So
any batch, any number of threads, any vector width, and skipping zeros or not give the same bits.
"""

from __future__ import annotations

import ctypes
import functools
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
    "pack": [ADDRESS, *[NUMBER] * 4, ADDRESS, NUMBER],
    "digest": [ADDRESS, NUMBER, ADDRESS],
    "sample": [ADDRESS, *[NUMBER] * 3],
    "finite": [ADDRESS, NUMBER, NUMBER],
    "count": [ADDRESS, NUMBER, NUMBER, ADDRESS, NUMBER],
    "list": [ADDRESS, NUMBER, NUMBER, *[ADDRESS] * 3, NUMBER],
    "dense": [ADDRESS, NUMBER, ADDRESS, NUMBER, NUMBER, ADDRESS, ADDRESS, NUMBER],
    "listed": [*[ADDRESS] * 3, NUMBER, ADDRESS, NUMBER, NUMBER, ADDRESS, ADDRESS, NUMBER],
    "chunk": [NUMBER],
    "weights": [*[ADDRESS] * 4, *[NUMBER] * 4, *[ADDRESS] * 6, NUMBER],
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
    """A matrix W [N, K] as the library reads it, W^T [K, N]; packed again wherever W may have changed.

    A version that PyTorch counts says when W has changed, but not that it hasn't: writes through `.data`, `numpy()`
    or memory shared with others don't count. So where version and place are those of last time, all of W is read, and
    compared with a digest of what was packed.
    """

    def __init__(self, transposed: bool = False) -> None:
        self.transposed = transposed
        self.finite = True
        self.address = 0
        self._key: tuple = ()
        self._digest: tuple[int, int] | None = None
        self._buffer = torch.empty(0)
        self._sums = (ctypes.c_uint64 * 2)()

    def update(self, weight: Tensor, threads: int) -> Packed:
        """Hold `weight`: float32, contiguous, on the CPU; with `transposed` W itself instead of W^T."""
        place = weight.data_ptr()
        key = (place, -1 if weight.is_inference() else weight._version, weight.shape)
        if key == self._key:
            library().matrix_digest(place, weight.numel(), self._sums)
            digest = (self._sums[0], self._sums[1])
            if digest == self._digest:
                return self
            self._digest = digest
        else:       # in training every step comes here: nothing is digested that isn't asked for
            self._key, self._digest = key, None
        N, K = weight.shape
        steps = (K, 1, N, K) if self.transposed else (1, K, K, N)
        size = library().matrix_packed_size(*steps[2:]) + VECTOR
        if self._buffer.numel() != size:
            self._buffer = torch.empty(size)
        self.address = (self._buffer.data_ptr() + 63) // 64 * 64
        self.finite = bool(library().matrix_pack(place, *steps, self.address, threads))
        return self


class Lists(NamedTuple):
    """The non-zeros of a matrix [M, K]: row m has `places` and `values` from ends[m] to ends[m + 1]."""

    shape: tuple[int, int]
    ends: Tensor
    places: Tensor
    values: Tensor

    @classmethod
    def of(cls, x: Tensor, threads: int) -> Lists:
        """Return the lists of x [M, K], contiguous."""
        M, K = x.shape
        ends = torch.empty(M + 1, dtype=torch.int32)
        count = library().matrix_count(x.data_ptr(), M, K, ends.data_ptr(), threads)
        lists = cls((M, K), ends, torch.empty(count, dtype=torch.int32), torch.empty(count))
        library().matrix_list(x.data_ptr(), M, K, *map(_place, lists[1:]), threads)
        return lists

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
    y = torch.empty((M, N))
    library().matrix_dense(x.data_ptr(), M, packed.address, K, N, _place(bias), y.data_ptr(), threads)
    return y


def product_skipping(
    x: Tensor, packed: Packed, N: int, bias: Tensor | None, threads: int
) -> tuple[Tensor, Lists]:  # fmt: skip
    """Return the same bits as `product`, zeros of x skipped, and the lists; what is packed must be finite."""
    M, K = x.shape
    lists, y = Lists.of(x, threads), torch.empty((M, N))
    library().matrix_listed(
        *map(_place, lists[1:]), M, packed.address, K, N, _place(bias), y.data_ptr(), threads
    )
    return y, lists


def weight_gradient(x: Tensor | Lists, g: Tensor, threads: int) -> Tensor:
    """Return g^T x [N, K] of g [M, N] and x [M, K] or its lists; lists give the bits of x where g is finite.

    Sums run over blocks of rows, ascending, and the blocks' sums are added one after another.
    """
    (M, K), N = x.shape, g.shape[1]
    g = F.pad(g, (0, -N % VECTOR)) if N % VECTOR else g
    total, dw = torch.empty((K, N)), torch.empty((N, K))
    if isinstance(x, Tensor):
        given, scratch = (x, None, None, None), (None, None, None)
    else:
        given = (None, x.ends, x.places, x.values)
        chunks = -(-M // library().matrix_chunk(N))
        column_ends = torch.empty(chunks * (K + 1), dtype=torch.int32)
        scratch = (column_ends, torch.empty_like(x.places), torch.empty_like(x.values))
    library().matrix_weights(
        *map(_place, given), M, K, N, g.shape[1], g.data_ptr(), *map(_place, scratch), total.data_ptr(),
        dw.data_ptr(), threads,
    )
    return dw


def finite(x: Tensor, threads: int) -> bool:
    """Say whether a contiguous tensor holds no inf and no NaN."""
    return bool(library().matrix_finite(x.data_ptr(), x.numel(), threads))


def _place(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
