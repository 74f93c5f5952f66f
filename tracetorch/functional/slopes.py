"""Surrogates whose slope trains: hard spikes forward, backward a formula that has the slope in it."""

import math

import torch
from torch import Tensor, nn

from .surrogates import reached
from .transforms import require


class _FireWithSlope(torch.autograd.Function):
    """Spikes of `kind`, differentiated by its formula, which also trains its slope."""

    @staticmethod
    def forward(ctx, u, alpha, kind):
        ctx.save_for_backward(u, alpha)
        ctx.kind = kind
        return reached(u)

    @staticmethod
    def backward(ctx, grad):
        u, alpha = ctx.saved_tensors
        grad_u = grad * ctx.kind.derivative(u, alpha)
        grad_alpha = None
        if ctx.needs_input_grad[1]:
            grad_alpha = (grad_u * u / alpha).sum_to_size(alpha.shape)
        return grad_u, grad_alpha, None


class SlopeSurrogate(nn.Module):
    """A `spike_fn` that fires where u >= 0 and whose slope trains.

        dy/dalpha = u / alpha * dy/du

    Args:
        alpha: slope, greater than 0; a number, or a tensor [N] with one slope per neuron of the last dimension.
        learn_alpha: False keeps it fixed (a buffer).

    Raises:
        ValueError: an alpha that is not greater than 0.
    """

    alpha: Tensor

    def __init__(self, alpha: float | Tensor = 2.0, learn_alpha: bool = True):
        super().__init__()
        require(f"{type(self).__name__}: alpha", alpha, "greater than 0", lambda a: a > 0)
        value = alpha.detach().clone() if isinstance(alpha, Tensor) else torch.tensor(float(alpha))
        if learn_alpha:
            self.alpha = nn.Parameter(value)
        else:
            self.register_buffer("alpha", value)

    def forward(self, u: Tensor) -> Tensor:
        return _FireWithSlope.apply(u, self.alpha, type(self))

    @staticmethod
    def derivative(u, alpha):
        raise NotImplementedError

    def extra_repr(self) -> str:
        alpha = f"{self.alpha.item():g}" if self.alpha.numel() == 1 else f"{list(self.alpha.shape)}"
        return f"alpha={alpha}, learn_alpha={isinstance(self.alpha, nn.Parameter)}"


class Arctan(SlopeSurrogate):
    """Fires where u >= 0; the derivative is that of an arctangent.

        dy/du = alpha / (1 + (pi * alpha * u)**2)

    Args:
        alpha: slope, greater than 0; a number, or a tensor [N] with one slope per neuron of the last dimension.
        learn_alpha: False keeps it fixed (a buffer).

    Raises:
        ValueError: an alpha that is not greater than 0.

    Source: Tether, surrogate 0; Fang et al., Incorporating learnable membrane time constant (2021).
    """

    @staticmethod
    def derivative(u, alpha):
        scaled = math.pi * alpha * u
        return alpha / (1 + scaled * scaled)


class Sigmoid(SlopeSurrogate):
    """Fires where u >= 0; the derivative is that of a sigmoid.

        dy/du = alpha * sigmoid(alpha * u) * (1 - sigmoid(alpha * u))

    Args:
        alpha: slope, greater than 0; a number, or a tensor [N] with one slope per neuron of the last dimension.
        learn_alpha: False keeps it fixed (a buffer).

    Raises:
        ValueError: an alpha that is not greater than 0.

    Source: Tether, surrogate 1.
    """

    @staticmethod
    def derivative(u, alpha):
        y = torch.sigmoid(alpha * u)
        return alpha * y * (1 - y)


class FastSigmoid(SlopeSurrogate):
    """Fires where u >= 0; the derivative is that of a fast sigmoid.

        dy/du = 1 / (1 + |alpha * u|)**2

    Args:
        alpha: slope, greater than 0; a number, or a tensor [N] with one slope per neuron of the last dimension.
        learn_alpha: False keeps it fixed (a buffer).

    Raises:
        ValueError: an alpha that is not greater than 0.

    Source: Tether, surrogate 2.
    """

    @staticmethod
    def derivative(u, alpha):
        root = 1 / (1 + torch.abs(alpha * u))
        return root * root
