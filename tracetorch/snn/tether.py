"""Tether's neurons: the classes LIF, PLIF and ALIF, and functions of [n_steps, batch*neurons] that run on them."""

from __future__ import annotations

import functools

import torch
from einops import rearrange
from torch import Tensor

from .. import backends
from ..functional.random import new_key
from ..functional.slopes import Arctan, FastSigmoid, Sigmoid, SlopeSurrogate
from ..layers.compose import compose
from ..pipeline import Step
from ..stages import Adaptive, Binary, Reset

_STAGES = (Binary(biased=False), Reset("zero", detach=True))
_ONE_FOR_ALL = {"beta_rank": 0, "threshold_rank": 0, "spike_fn": Arctan(2.0)}

LIF = compose(*_STAGES, defaults=_ONE_FOR_ALL, name="LIF")
PLIF = compose(*_STAGES, defaults={"spike_fn": Arctan(2.0)}, name="PLIF")
ALIF = compose(Adaptive, *_STAGES, defaults={**_ONE_FOR_ALL, "rho_rank": 0, "kappa_rank": 0}, name="ALIF")

FUNCTIONS = ("lif", "plif", "alif", "LIFSubFunction", "PLIFSubFunction", "ALIFSubFunction")
"""What `tracetorch` adds to `tracetorch.functional`: functions, but of whole layers."""
SURROGATES: tuple[type[SlopeSurrogate], ...] = (Arctan, Sigmoid, FastSigmoid)

Number = float | Tensor
Surrogate = int | type[SlopeSurrogate]


def lif(
    x_seq: Tensor,
    v_init: Tensor | None = None,
    decay: Number = 0.9,
    threshold: Number = 1.0,
    alpha: Number = 2.0,
    surrogate_type: Surrogate = Arctan,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run leaky integrate-and-fire neurons with one decay and one threshold.

        v = decay*v + x        spike = 1 where v >= threshold, else 0        v = 0 where it spiked

    Everything is differentiable in every tensor, except that no gradient flows through the reset.

    Args:
        x_seq: [n_steps, batch*neurons], 1 step or more.
        v_init: [batch*neurons], None for zeros.
        decay: one number, from 0 to 1; as in Tether, ranges are not checked.
        threshold: one number, in the unit of `x_seq`.
        alpha: slope of the surrogate, one number greater than 0.
        surrogate_type: 0 or Arctan, 1 or Sigmoid, 2 or FastSigmoid.

    Returns:
        spikes [n_steps, batch*neurons], v_final [batch*neurons], and v_seq [n_steps, batch*neurons]: v before the
        reset.

    Raises:
        TypeError: x_seq is no floating-point tensor.
        ValueError: shapes or a surrogate that don't fit.

    Source: Tether, `LIFSubFunction`.
    """
    return _leaky("lif", x_seq, v_init, decay, threshold, alpha, surrogate_type, per_neuron=False)


def plif(
    x_seq: Tensor,
    v_init: Tensor | None = None,
    decay: Number = 0.9,
    threshold: Number = 1.0,
    alpha: Number = 2.0,
    surrogate_type: Surrogate = Arctan,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run leaky integrate-and-fire neurons with a decay and a threshold each; `lif` otherwise.

    A batch lies in x_seq one sample after the other; parameters as long as x_seq is wide give every column its own.

    Args:
        x_seq: [n_steps, batch*neurons], 1 step or more.
        v_init: [batch*neurons], None for zeros.
        decay, threshold, alpha: one number or [neurons] each, in the ranges of `lif`.
        surrogate_type: 0 or Arctan, 1 or Sigmoid, 2 or FastSigmoid.

    Returns:
        spikes, v_final and v_seq, as `lif`.

    Raises:
        TypeError, ValueError: as `lif`.

    Source: Tether, `PLIFSubFunction`.
    """
    return _leaky("plif", x_seq, v_init, decay, threshold, alpha, surrogate_type, per_neuron=True)


def alif(
    x_seq: Tensor,
    v_init: Tensor | None = None,
    a_init: Tensor | None = None,
    decay_v: Number = 0.9,
    decay_a: Number = 0.95,
    threshold: Number = 1.0,
    beta: Number = 0.1,
    alpha: Number = 2.0,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Run adaptive leaky integrate-and-fire neurons, with the arctangent surrogate.

        v = decay_v*v + x        spike = 1 where v >= threshold + beta*a, else 0        v = 0 where it spiked
        a = decay_a*a + spike

    Differentiable as `lif`, which raises the same errors.

    Args:
        x_seq: [n_steps, batch*neurons], 1 step or more.
        v_init, a_init: [batch*neurons], None for zeros.
        decay_v, decay_a, threshold, alpha: one number each, in the ranges of `lif`.
        beta: one number, how far a spike raises the threshold.

    Returns:
        spikes, v_final, a_final, v_seq and a_seq; the last two are v before the reset and the a that raised the
        threshold, [n_steps, batch*neurons].

    Source: Tether, `ALIFSubFunction`.
    """
    params = {"beta": decay_v, "threshold": threshold, "rho": decay_a, "kappa": beta}
    spikes, new, recordings = _scan("alif", x_seq, {"mem": v_init, "adapt": a_init}, params, Arctan, alpha, False)
    after = recordings["adapt"]
    start = torch.zeros_like(after[0]) if a_init is None else a_init.to(after.dtype)
    a_seq = torch.cat([start[None], after[:-1]])     # [T, B*N]
    return spikes, new["mem"], new["adapt"], recordings["potential"], a_seq


class LIFSubFunction:
    """Drop-in for Tether's class of this name: `LIFSubFunction.apply` is `lif`."""

    apply = staticmethod(lif)


class PLIFSubFunction:
    """Drop-in for Tether's class of this name: `PLIFSubFunction.apply` is `plif`."""

    apply = staticmethod(plif)


class ALIFSubFunction:
    """Drop-in for Tether's class of this name: `ALIFSubFunction.apply` is `alif`."""

    apply = staticmethod(alif)


def _leaky(where, x_seq, v_init, decay, threshold, alpha, surrogate_type, per_neuron):
    kind = _surrogate(where, surrogate_type)
    params = {"beta": decay, "threshold": threshold}
    spikes, new, recordings = _scan(where, x_seq, {"mem": v_init}, params, kind, alpha, per_neuron)
    return spikes, new["mem"], recordings["potential"]


def _scan(where, x_seq, states, params, kind, alpha, per_neuron):
    """Run the composition over [n_steps, batch*neurons]; return spikes, final states and recordings, flat as x_seq."""
    _check_sequence(where, x_seq, states)
    params = {**params, "alpha": alpha}
    dtypes = (p.dtype for p in params.values() if isinstance(p, Tensor))
    dtype = functools.reduce(torch.promote_types, dtypes, x_seq.dtype)
    compute = torch.promote_types(dtype, torch.float32)
    params = {name: torch.as_tensor(p, dtype=compute, device=x_seq.device) for name, p in params.items()}
    neurons = _neurons(where, x_seq.shape[1], params, per_neuron)
    params = {name: p.reshape(()) if p.numel() == 1 else p for name, p in params.items()}     # [] or [N]

    layer, record = (ALIF, ("potential", "adapt")) if "adapt" in states else (LIF, ("potential",))
    step = Step(layer.pipeline, _with_slope(kind, params.pop("alpha")), torch.nn.Identity(), layer.__name__)
    x = rearrange(x_seq.to(dtype), "t (b n) -> t b n", **({"n": neurons} if neurons else {"b": 1}))
    starts = [None if s is None else s.to(compute).reshape(x.shape[1:])
              for s in map(states.get, layer.pipeline.states)]
    stored = [params[name] for name in layer.pipeline.parameters]
    call = backends.Call(x.device, x.shape[1:], 1, dtype, compute, {n: params[n].ndim for n in params}, record)
    y, finals, recordings, _ = backends.bind(step, call)(x, starts, stored, new_key)
    new, values = zip(layer.pipeline.states, finals, strict=True), zip(record, recordings, strict=True)
    flat = "... b n -> ... (b n)"
    return rearrange(y, flat), {k: rearrange(v, flat) for k, v in new}, {k: rearrange(v, flat) for k, v in values}


def _with_slope(kind: type[SlopeSurrogate], alpha: Tensor) -> SlopeSurrogate:
    """Return a spike function whose slope is this very tensor, so that its gradient reaches the caller's."""
    spike_fn = kind(learn_alpha=False)
    spike_fn.alpha = alpha
    return spike_fn


def _surrogate(where: str, chosen: Surrogate) -> type[SlopeSurrogate]:
    if chosen in SURROGATES:
        return chosen
    if isinstance(chosen, int) and 0 <= chosen < len(SURROGATES):
        return SURROGATES[chosen]
    allowed = ", ".join(f"{i} or tt.functional.{kind.__name__}" for i, kind in enumerate(SURROGATES))
    raise ValueError(f"{where}: surrogate_type must be {allowed} (got {chosen!r})")


def _check_sequence(where: str, x_seq: Tensor, states: dict[str, Tensor | None]) -> None:
    if not isinstance(x_seq, Tensor) or not x_seq.is_floating_point():
        kind = x_seq.dtype if isinstance(x_seq, Tensor) else type(x_seq).__name__
        raise TypeError(f"{where}: x_seq must be a floating-point tensor (got {kind})")
    if x_seq.ndim != 2 or len(x_seq) == 0:
        raise ValueError(
            f"{where}: x_seq must be [n_steps, batch*neurons] with n_steps >= 1 (got {list(x_seq.shape)}); "
            f"flatten a batch with x.flatten(1)"
        )
    for name, state in states.items():
        if state is not None and state.shape != x_seq.shape[1:]:
            init = {"mem": "v_init", "adapt": "a_init"}[name]
            raise ValueError(
                f"{where}: {init} must have shape {list(x_seq.shape[1:])}, one value for each column of x_seq "
                f"(got {list(state.shape)})"
            )


def _neurons(where: str, columns: int, params: dict[str, Tensor], per_neuron: bool) -> int:
    """Return the number of neurons per sample: the common length of the parameters that hold more than one number."""
    public = {"beta": "decay"} if where != "alif" else {"beta": "decay_v", "rho": "decay_a", "kappa": "beta"}
    several = {public.get(name, name): p for name, p in params.items() if p.numel() != 1}
    for name, p in several.items():
        if not per_neuron:
            raise ValueError(f"{where}: {name} must be one number (got shape {list(p.shape)}); plif takes [neurons]")
        if p.ndim != 1 or not len(p) or columns % len(p):
            raise ValueError(
                f"{where}: {name} must be one number or [neurons], where neurons divides the {columns} columns "
                f"of x_seq (got {list(p.shape)})"
            )
    lengths = {name: len(p) for name, p in several.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{where}: parameters must agree in the number of neurons (got {lengths})")
    return next(iter(lengths.values()), columns)
