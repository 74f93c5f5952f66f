"""Random numbers that depend only on seed, step, element and draw, so that every backend draws the same."""

import threading
from collections.abc import Callable

import torch
from torch import Tensor

_WORD = 0xFFFFFFFF
_ROUND_A, _ROUND_B = 0xD2511F53, 0xCD9E8D57
_KEY_A, _KEY_B = 0x9E3779B9, 0xBB67AE85
_TO_UNIT = 4.6566127342e-10  # Triton's: the largest float32 with 2**31 * it < 1

_local = threading.local()


def uniform(like: Tensor) -> Tensor:
    """Return uniform random numbers in [0, 1), one per neuron of a step, in like's dtype and on its device.

    Inside a layer these are the next draw of the layer's stream, of the step's shape: the same eager, fused,
    stepped, scanned, and when backward recomputes them. Outside a layer it is `torch.rand_like(like)`.

    Args:
        like: floating-point tensor, inside a layer of the step's shape; its numbers don't matter.
    """
    stream = current_stream()
    return torch.rand_like(like) if stream is None else stream.draw(like)


def current_stream() -> "Stream | TracingStream | None":
    """Return the stream that `uniform` draws from in this thread, or None outside a layer."""
    return getattr(_local, "stream", None)


def new_key() -> Tensor:
    """Return seed and position 0 of a new stream, int64 [2]: 63 bits of torch's CPU generator, others per rank."""
    rank = 0
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        rank = torch.distributed.get_rank()
    seed = torch.randint(0, 2**63 - 1, (), dtype=torch.int64, device="cpu")
    seed = seed ^ (rank * 0x9E3779B97F4A7C15 % 2**63)
    return torch.stack([seed, torch.zeros_like(seed)])


class _Current:
    """Makes itself the current stream of this thread in a `with` block, and counts the draws of one step."""

    def __init__(self):
        self.draws = 0

    def __enter__(self):
        self._outer = current_stream()
        _local.stream = self
        return self

    def __exit__(self, *exc):
        _local.stream = self._outer


class Stream(_Current):
    """The random numbers of one time step: draw 0, 1, ... from Philox4x32-10.

        key     = (low, high 32 bits of the seed)
        counter = (low 32 bits of the element's flat index, low 32 bits of the position, draw number,
                   high 32 bits of the index)

    After the step `draws` says how many numbers each element has drawn.

    Args:
        key: int64 tensor [2], (seed, position of the step), or a function that makes it at the first draw.
        shape: of the step's contiguous tensor, which every draw has.

    Source: Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (2011).
    """

    def __init__(self, key: Tensor | Callable[[], Tensor], shape: torch.Size):
        super().__init__()
        self.key, self.shape = key, torch.Size(shape)
        self._index: Tensor | None = None

    def draw(self, like: Tensor) -> Tensor:
        if not isinstance(self.key, Tensor):
            self.key = self.key()
        if self._index is None:
            self._index = torch.arange(self.shape.numel(), device=like.device).view(self.shape)     # [*step]
        seed, position = self.key.unbind()
        counter = (self._index & _WORD, position & _WORD, self.draws, self._index >> 32)
        self.draws += 1
        return to_unit(philox((seed & _WORD, (seed >> 32) & _WORD), counter)[0], like.dtype)


class TracingStream(_Current):
    """Stands in for a Stream while a step is captured: a draw becomes the operator `tracetorch::draw`."""

    def draw(self, like: Tensor) -> Tensor:
        self.draws += 1
        return torch.ops.tracetorch.draw(like.detach(), self.draws - 1)


@torch.library.custom_op("tracetorch::draw", mutates_args=())
def _draw(like: Tensor, number: int) -> Tensor:
    return torch.rand_like(like)


@_draw.register_fake
def _(like, number):
    return torch.empty_like(like)


def philox(key, counter):
    """Run ten rounds of Philox4x32 on words held in int64: key of 2, counter of 4, each a tensor or an int."""
    (k0, k1), (c0, c1, c2, c3) = key, counter
    for _ in range(10):
        (high_a, low_a), (high_b, low_b) = _multiply(_ROUND_A, c0), _multiply(_ROUND_B, c2)
        c0, c1, c2, c3 = high_b ^ c1 ^ k0, low_b, high_a ^ c3 ^ k1, low_a
        k0, k1 = (k0 + _KEY_A) & _WORD, (k1 + _KEY_B) & _WORD
    return c0, c1, c2, c3


def _multiply(constant, word):
    """Return the (high, low) 32 bits of a product; taking 2**32 from the constant keeps it inside int64."""
    product = word * (constant - 2**32)
    return (product >> 32) + word, product & _WORD


def to_unit(word: Tensor, dtype: torch.dtype) -> Tensor:
    """Turn 32 random bits into a number in [0, 1), rounded as `triton.language.uint_to_uniform_float` rounds."""
    unit = torch.minimum(word, _WORD - word).to(torch.float32) * _TO_UNIT
    if dtype in (torch.float16, torch.bfloat16):
        return unit.to(dtype).clamp(max=1 - torch.finfo(dtype).eps / 2)
    return unit.to(dtype)
