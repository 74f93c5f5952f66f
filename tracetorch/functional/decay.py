"""Decay factors from half-lives and averaging windows, and back."""

import math

import torch
from torch import Tensor

from .renamed import renamed
from .transforms import require


@renamed(num_steps="halflife")
def halflife_to_decay(halflife: float | Tensor) -> float | Tensor:
    """Return the decay per step at which a trace halves in `halflife` steps.

        decay = 0.5 ** (1 / halflife)

    Args:
        halflife: number or tensor of any shape, in steps, greater than 0.

    Returns:
        A decay in (0, 1), a number or a tensor as `halflife`.

    Raises:
        ValueError: a half-life that is not greater than 0.
    """
    require("halflife_to_decay", halflife, "greater than 0", lambda h: h > 0)
    return 0.5 ** (1 / halflife)


def decay_to_halflife(decay: float | Tensor) -> float | Tensor:
    """Return the steps in which a trace with this decay halves: the inverse of `halflife_to_decay`.

        halflife = log(0.5) / log(decay)

    Args:
        decay: number or tensor of any shape, in (0, 1).

    Returns:
        Steps, a number or a tensor as `decay`.

    Raises:
        ValueError: a decay that is not in (0, 1).
    """
    require("decay_to_halflife", decay, "in (0, 1)", lambda d: (d > 0) & (d < 1))
    log = torch.log(decay) if isinstance(decay, Tensor) else math.log(decay)
    return math.log(0.5) / log


@renamed(time="timesteps")
def timesteps_to_decay(timesteps: float | Tensor) -> float | Tensor:
    """Return the decay whose exponential average looks back over `timesteps` steps.

        decay = 1 - 1 / timesteps

    Args:
        timesteps: number or tensor of any shape, 1 or more.

    Returns:
        A decay in [0, 1), a number or a tensor as `timesteps`.

    Raises:
        ValueError: less than one step.
    """
    require("timesteps_to_decay", timesteps, "at least 1", lambda t: t >= 1)
    return 1 - 1 / timesteps


def decay_to_timesteps(decay: float | Tensor) -> float | Tensor:
    """Return the steps that an exponential average with this decay looks back: the inverse of `timesteps_to_decay`.

        timesteps = 1 / (1 - decay)

    Args:
        decay: number or tensor of any shape, in [0, 1).

    Returns:
        Steps, a number or a tensor as `decay`.

    Raises:
        ValueError: a decay that is not in [0, 1).
    """
    require("decay_to_timesteps", decay, "in [0, 1)", lambda d: (d >= 0) & (d < 1))
    return 1 / (1 - decay)
