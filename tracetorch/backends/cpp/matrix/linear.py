"""The linear map with one order of sums: its path through the library, its derivative, and its operator for graphs."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ... import choose, differentiable
from ...values import PLAIN
from .. import matrix
from ..threads import count
from . import Lists, Packed

PATHS = ("auto", "dense", "sparse")
TWICE = (
    "tt.Linear can be differentiated once; for second derivatives run it under tt.backend(\"eager\"), which is "
    "nn.Linear's way"
)
# Densities up to which lists win over the dense product, forward and backward together (benchmarks/network.py linear;
# Zen 5, AVX-512): 0.25 to 0.30 from 64 outputs on, for 20 outputs 0.05. One row, or so little work, and making lists
# costs more than it saves.
LIMIT, LIMIT_OF_FEW, FEW = 0.25, 0.05, 64
LEAST_WORK = 1 << 21
LONGEST = 1 << 31   # lists count in 32 bits
FEW_ROWS = 16       # for which reading W where it lies is cheaper than packing it; more where W is small
SMALL = 1 << 14
LISTED_ROWS = 256   # from which on dW from lists is faster: it writes dW twice


class Seen(NamedTuple):
    """How a call ran: `path` is "dense", "sparse" or "torch"; the density of its input; why no other way."""

    path: str
    density: float | None = None
    why: str | None = None

    def __str__(self) -> str:
        if self.path == "torch":
            return f"as nn.Linear: {self.why}"
        seen = "" if self.density is None else f", {self.density:.1%} of its input not zero"
        return self.path + seen + (f"; {self.why}" if self.why else "")


DENSE, SPARSE = Seen("dense"), Seen("sparse")


class Workspace:
    """Packed weights between calls, W^T for products and W for gradients, and how the last call ran.

    Whoever uses it holds its lock.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.forward, self.backward = Packed(), Packed(transposed=True)
        self.seen: Seen | None = None

    def taken(self) -> Workspace:
        """Return this, or a new one where another thread uses it; locked."""
        own = self if self.lock.acquire(blocking=False) else Workspace()
        if own is not self:
            own.lock.acquire()
        return own


def why_torch(x: Tensor, weight: Tensor, bias: Tensor | None) -> str | None:
    """Return why a call goes to `torch.nn.functional.linear`, None where the library runs it."""
    if not (x.dtype is weight.dtype is torch.float32):
        return f"input {x.dtype}, weight {weight.dtype}; the matrix library takes torch.float32"
    if not (x.is_cpu and weight.is_cpu):
        return f"input on {x.device}, weight on {weight.device}; the matrix library runs on the CPU"
    if choose.requested() == "eager":
        return 'tt.backend("eager") is on'
    if _any_autocast() and torch.is_autocast_enabled("cpu"):
        return "autocast chooses the dtype"
    if not torch.compiler.is_compiling():
        if _transforms() or forward_ad._current_level >= 0 or _modes() or _functions() or _traced() is not None:
            return "vmap, torch.func, forward mode or a mode that watches operators is on"
        for t in (x, weight) if bias is None else (x, weight, bias):
            if type(t) not in PLAIN or t.layout is not torch.strided or t.is_neg():
                return f"a {type(t).__name__} ({t.layout}) is not read by the matrix library"
    elif torch.compiler.is_exporting():
        return "an exported program holds no kernel of ours"
    if x.ndim == 0 or x.shape[-1] != weight.shape[-1]:
        return "shapes do not fit"
    return matrix.why_not()


# looked up once: a small product takes no longer than looking them up
_any_autocast, _transforms = torch._C._is_any_autocast_enabled, torch._C._are_functorch_transforms_active
_modes, _functions = torch._C._len_torch_dispatch_stack, torch._C._len_torch_function_stack
_traced = torch._C._get_tracing_state


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, path: str, own: Workspace) -> Tensor:
    """Return x [..., K] times weight [N, K] transposed, plus bias [N]; only where `why_torch` says None."""
    if torch.is_grad_enabled() and (
        x.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
    ):
        return Product.apply(x, weight, bias, path, own)
    return _forward(x, weight, bias, path, own)[0]


def _rows(x: Tensor) -> Tensor:
    """x [..., K] as contiguous [M, K]."""
    if x.ndim == 2 and x.is_contiguous():
        return x
    return x.contiguous().view(-1, x.shape[-1]) if x.numel() else x.new_empty((x.shape[:-1].numel(), x.shape[-1]))


def _forward(x: Tensor, weight: Tensor, bias: Tensor | None, path: str, own: Workspace) -> tuple[Tensor, Lists | None]:
    rows, threads = _rows(x), count()
    M, N = rows.shape[0], weight.shape[0]
    weight, bias = weight.contiguous(), None if bias is None else bias.contiguous()
    seen, lists, own = _chosen(path, rows, N), None, own.taken()
    try:
        if seen.path == "sparse" and not own.forward.update(weight, threads).finite:
            seen = Seen("dense", seen.density, "the weight holds inf or NaN")
        own.seen = seen
        if M == 0 or N == 0:
            y = rows.new_empty((M, N))
        elif seen.path == "sparse":
            y, lists = matrix.product_skipping(rows, own.forward, N, bias, threads)
        else:
            y = own.forward.times(rows, weight, bias, threads)
    finally:
        own.lock.release()
    return y if x.ndim == 2 else y.view(*x.shape[:-1], N), lists


def _chosen(path: str, x: Tensor, N: int) -> Seen:
    M, K = x.shape
    if path == "dense" or M * K * N == 0 or M * K >= LONGEST:
        return DENSE
    if path == "sparse":
        return SPARSE
    if M == 1 or M * K * N < LEAST_WORK:
        return DENSE
    found = matrix.density(x)
    return Seen("sparse" if found <= (LIMIT if N >= FEW else LIMIT_OF_FEW) else "dense", found)


class Product(torch.autograd.Function):
    """`Product.apply(x, weight, bias, path, workspace)` -> y; keeps lists in place of x where they are smaller."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, path: str, own: Workspace) -> Tensor:
        y, lists = _forward(x, weight, bias, path, own)
        ctx.own, ctx.shape = own, x.shape
        if not ctx.needs_input_grad[1]:
            ctx.save_for_backward(weight)
        elif lists is None or len(lists.ends) <= LISTED_ROWS or 2 * lists.places.numel() >= x.numel():
            ctx.save_for_backward(weight, x)
        else:
            ctx.save_for_backward(weight, *lists[1:])
        return y

    @staticmethod
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
        weight, *kept = saved = ctx.saved_tensors
        K = ctx.shape[-1]
        x = _rows(kept[0]) if len(kept) == 1 else Lists((ctx.shape.numel() // max(1, K), K), *kept) if kept else None
        grads = _backward(gy, x, weight, ctx.shape, ctx.needs_input_grad[:3], ctx.own)
        if torch.is_grad_enabled():
            grads = differentiable.Once.apply(TWICE, 3, *grads, *saved, gy)
        return *grads, None, None


def _backward(gy: Tensor, x: Tensor | Lists | None, weight: Tensor, shape: torch.Size, needs: tuple[bool, ...],
              own: Workspace) -> tuple[Tensor | None, ...]:  # fmt: skip
    g, threads = _rows(gy), count()
    few = FEW_ROWS if weight.numel() > SMALL else LISTED_ROWS - 1
    if 0 < g.shape[0] <= few and weight.numel() and not isinstance(x, Lists):
        gx, gw, gb = matrix.gradients(g, x, weight.contiguous(), needs, threads)
        return gx if gx is None or len(shape) == 2 else gx.view(shape), gw, gb
    gx = gw = None
    gb = g.sum(0) if needs[2] else None
    if needs[0]:
        gx = _input_gradient(g, weight, own, threads).view(shape)
    if needs[1] and x is not None:
        # 0 * inf as the dense product has it; a sum over g is finite only where g is
        if isinstance(x, Lists) and not matrix.finite(g if gb is None else gb, threads):
            x = x.dense()
        gw = matrix.weight_gradient(x, g, threads) if len(g) else torch.zeros_like(weight)
    return gx, gw, gb


def _input_gradient(g: Tensor, weight: Tensor, own: Workspace, threads: int) -> Tensor:
    (M, N), K = g.shape, weight.shape[1]
    if M == 0 or N == 0 or K == 0:
        return g.new_zeros((M, K))
    own = own.taken()
    try:
        # Zeros of g are not looked for: a membrane hands gradient on to steps where the surrogate's is zero. With a
        # triangle, 92 to 100 % of g is not zero.
        return matrix.product(g, own.backward.update(weight.contiguous(), threads), K, None, threads)
    finally:
        own.lock.release()


@torch.library.custom_op("tracetorch::linear", mutates_args=())
def linear_in_graph(x: Tensor, weight: Tensor, bias: Tensor | None, path: str) -> Tensor:
    """The same in a graph, where weights are packed in every call and x is kept for backward."""
    return _forward(x, weight, bias, path, Workspace())[0]


@linear_in_graph.register_fake
def _(x, weight, bias, path):
    return x.new_empty((*x.shape[:-1], weight.shape[0]))


@torch.library.custom_op("tracetorch::linear_backward", mutates_args=())
def linear_backward(gy: Tensor, x: Tensor, weight: Tensor, path: str, needs: list[bool]) -> list[Tensor]:
    """Return the gradients that are needed, of x, weight and bias."""
    rows = _rows(x)
    listed = needs[1] and len(rows) >= LISTED_ROWS and _chosen(path, rows, weight.shape[0]).path == "sparse"
    found = Lists.of(rows, count()) if listed else rows
    return [g for g in _backward(gy, found, weight, x.shape, tuple(needs), Workspace()) if g is not None]


@linear_backward.register_fake
def _(gy, x, weight, path, needs):
    shapes = (x.shape, weight.shape, weight.shape[:1])
    return [x.new_empty(shape) for shape, need in zip(shapes, needs, strict=True) if need]


def _setup(ctx, inputs, output):
    x, weight, _, ctx.path = inputs
    ctx.save_for_backward(x, weight)


def _backward_in_graph(ctx, gy):
    x, weight = ctx.saved_tensors
    needs = list(ctx.needs_input_grad[:3])
    grads = iter(linear_backward(gy, x, weight, ctx.path, needs))
    return *(next(grads) if need else None for need in needs), None


linear_in_graph.register_autograd(_backward_in_graph, setup_context=_setup)


def _twice(ctx, *grads):
    raise RuntimeError(TWICE)


linear_backward.register_autograd(_twice)
