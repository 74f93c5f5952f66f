"""Surrogates: hard spikes forward, the derivative of something smooth backward. Those whose slope trains: slopes.py."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .quantise import straight_through
from .random import uniform

_TWO_OVER_ROOT_PI = 2 / 1.7724539041519165  # the root rounded to float32, as Norse computes it


def _above(x: Tensor) -> Tensor:
    return (x > 0).to(x.dtype)


def reached(u: Tensor) -> Tensor:
    """Return 1 where u >= 0, else 0."""
    return (u >= 0).to(u.dtype)


class _Fire(torch.autograd.Function):
    """Spikes of `kind`, differentiated by its formula."""

    @staticmethod
    def forward(ctx, x, k, kind):
        ctx.save_for_backward(x)
        ctx.k, ctx.kind = k, kind
        return kind.fire(x, k)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * ctx.kind.derivative(x, ctx.k), None, None


@dataclass(frozen=True)
class Threshold:
    """A fixed-slope surrogate: an instance is a `spike_fn`; `.apply(x, k)` calls it directly.

    Args:
        k: slope or width, greater than 0. In `.apply` it may be a tensor that broadcasts against x, which gets no
            gradient, or be left out.

    Raises:
        ValueError: another k.
    """

    k: float = 1.0

    def __post_init__(self):
        if not (isinstance(self.k, int | float) and 0 < self.k < math.inf):
            name = type(self).__name__
            raise ValueError(
                f"{name}: k must be a finite number greater than 0 (got {self.k!r}); for a slope that "
                f"trains use Arctan, Sigmoid, FastSigmoid or surrogate(module)"
            )

    @classmethod
    def apply(cls, x: Tensor, k: float | Tensor | None = None) -> Tensor:
        return _Fire.apply(x, cls.k if k is None else k, cls)

    def __call__(self, x: Tensor) -> Tensor:
        return _Fire.apply(x, self.k, type(self))

    @staticmethod
    def fire(x, k):
        return _above(x)

    @staticmethod
    def derivative(x, k):
        raise NotImplementedError


class HeaviErfc(Threshold):
    """Fires where x > 0; the derivative is a Gaussian bump.

        dy/dx = 2 / sqrt(pi) * exp(-(k * x)**2)

    Args:
        k: 1 / width of the bump, greater than 0.

    Source: Norse, `heavi_erfc_fn`.
    """

    @staticmethod
    def derivative(x, k):
        scaled = k * x
        return _TWO_OVER_ROOT_PI * torch.exp(-(scaled * scaled))


class HeaviTanh(Threshold):
    """Fires where x > 0; the derivative is that of tanh.

        dy/dx = 1 - tanh(k * x)**2

    Args:
        k: slope of the tanh at 0, greater than 0.

    Source: Norse, `heavi_tanh_fn`.
    """

    @staticmethod
    def derivative(x, k):
        y = torch.tanh(k * x)
        return 1 - y * y


class HeaviCirc(Threshold):
    """Fires where x > 0; the derivative is that of a circle's tangent, with heavy tails.

        dy/dx = (k**2 / (k**2 + x**2)) ** 1.5

    Args:
        k: width of the bump, greater than 0.

    Source: Norse, `heavi_circ_fn`.
    """

    @staticmethod
    def derivative(x, k):
        ratio = k * k / (k * k + x * x)
        return ratio * torch.sqrt(ratio)


class CircDist(HeaviCirc):
    """Fires with a probability that rises like x / sqrt(x**2 + k**2); one draw per element.

        P(y = 1) = 0.5 + 0.5 * x / sqrt(x**2 + k**2)        dy/dx as HeaviCirc

    Args:
        k: width of the rise, greater than 0.

    Source: Norse, `circ_dist_fn`.
    """

    @staticmethod
    def fire(x, k):
        probability = 0.5 + 0.5 * (x / torch.sqrt(x * x + k * k))
        return (uniform(x) < probability).to(x.dtype)


class Logistic(HeaviTanh):
    """Fires with logistic probability; one draw per element.

        P(y = 1) = 0.5 + 0.5 * tanh(k * x) = sigmoid(2 * k * x)        dy/dx as HeaviTanh

    Args:
        k: half the slope of the logistic function, greater than 0.

    Source: Norse, `logistic_fn`.
    """

    @staticmethod
    def fire(x, k):
        probability = 0.5 + 0.5 * torch.tanh(k * x)
        return (uniform(x) < probability).to(x.dtype)


@dataclass(frozen=True)
class Triangle(Threshold):
    """Fires where x > 0; the derivative is a triangle of height k on [-1, 1].

        dy/dx = k * max(0, 1 - |x|)

    Args:
        k: height of the triangle, greater than 0.

    Source: Norse, `triangle_fn`; Bellec et al., A solution to the learning dilemma for recurrent networks
    of spiking neurons (2020).
    """

    k: float = 0.3

    @staticmethod
    def derivative(x, k):
        return k * torch.relu(1 - torch.abs(x))


@dataclass(frozen=True)
class SuperSpike(Threshold):
    """Fires where x > 0; the derivative is that of a fast sigmoid.

        dy/dx = 1 / (k * |x| + 1)**2

    Args:
        k: steepness, greater than 0.

    Source: Norse, `superspike_fn`; Zenke and Ganguli, SuperSpike (2018).
    """

    k: float = 100.0

    @staticmethod
    def derivative(x, k):
        root = 1 / (k * torch.abs(x) + 1)
        return root * root


@dataclass(frozen=True)
class MultiSpike(Threshold):
    """Fires as many spikes as whole units of 1 are reached: one at x = 0, two at x = 1, and so on.

        y     = max(0, floor(x) + 1)
        dy/dx = exp(-|d| / k)        d = x below 0, from there on 2 * (x - nearest whole number)

    For a membrane that fires several times in one step and loses `threshold` for each, with a threshold of 1.

    Args:
        k: width of each peak, greater than 0.

    Source: sinabs, `MultiSpike` with `PeriodicExponential`; Weidel and Sheik, WaveSense (2021).
    """

    k: float = 0.5

    @staticmethod
    def fire(x, k):
        return torch.clamp(torch.floor(x) + 1, min=0)

    @staticmethod
    def derivative(x, k):
        return torch.exp(-torch.abs(torch.where(x < 0, x, 2 * (x - torch.floor(x + 0.5)))) / k)


heavi_erfc, heavi_tanh, heavi_circ, circ_dist = HeaviErfc, HeaviTanh, HeaviCirc, CircDist
logistic, triangle, super_spike, multi_spike = Logistic, Triangle, SuperSpike, MultiSpike

_METHODS = {
    "super": SuperSpike,
    "triangle": Triangle,
    "tanh": HeaviTanh,
    "circ": HeaviCirc,
    "heavi_erfc": HeaviErfc,
}


def threshold(x: Tensor, method: str, alpha: float | Tensor) -> Tensor:
    """Return 1 where x > 0, else 0, with the surrogate derivative that `method` names.

    Args:
        x: membrane minus threshold, any shape.
        method: "heaviside" (no gradient), "super", "triangle", "tanh", "circ" or "heavi_erfc".
        alpha: slope or width, the k of that surrogate.

    Raises:
        ValueError: another method.

    Source: Norse, `threshold`.
    """
    if method == "heaviside":
        return _above(x)
    if method not in _METHODS:
        allowed = ", ".join(["heaviside", *_METHODS])
        raise ValueError(f"threshold: method must be one of {allowed} (got {method!r})")
    return _METHODS[method].apply(x, alpha)


def sign(x: Tensor, method: str, alpha: float | Tensor) -> Tensor:
    """Return 1 where x > 0, else -1.

        2 * threshold(x, method, alpha) - 1

    Args:
        x, method, alpha: as for `threshold`.

    Raises:
        ValueError: another method.

    Source: Norse, `sign`.
    """
    return 2 * threshold(x, method, alpha) - 1


class Surrogate(nn.Module):
    """A `spike_fn` made of any smooth function: fires where x >= 0, and is differentiated as `fn`.

        y = 1 where x >= 0, else 0                    dy/dx = dfn/dx
        y = clamp(floor(x) + 1, 0, most)              (another `most` than 1)

        tt.snn.LIB(128, spike_fn=tt.functional.surrogate(torch.tanh))

    Args:
        fn: elementwise and differentiable, such as torch.sigmoid, or an nn.Module whose parameters then train by
            fn's gradient.
        most: how many spikes one step may have, one for each whole unit of x that is reached; None for any number.

    Raises:
        TypeError: fn can't be called.
        ValueError: most is no whole number from 1.
    """

    def __init__(self, fn: Callable[[Tensor], Tensor], most: int | None = 1):
        super().__init__()
        if not callable(fn):
            raise TypeError(f"surrogate: fn must be a function or module of one tensor (got {fn!r})")
        if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 1):
            raise ValueError(f"surrogate: most must be a whole number from 1, or None for any number (got {most!r})")
        self.fn, self.most = fn, most

    def forward(self, x: Tensor) -> Tensor:
        return straight_through(reached if self.most == 1 else self._count, x, path=self.fn(x))

    def _count(self, x: Tensor) -> Tensor:
        return torch.clamp(torch.floor(x) + 1, 0, self.most)

    def extra_repr(self) -> str:
        fn = [] if isinstance(self.fn, nn.Module) else [f"fn={getattr(self.fn, '__name__', repr(self.fn))}"]
        return ", ".join(fn + [f"most={self.most}"] * (self.most != 1))


surrogate = Surrogate
