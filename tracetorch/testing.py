"""For your own stages: what every stage of the library is tested for, in `check_stage(MyStage)`."""

from __future__ import annotations

import copy
import functools
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import backends
from .functional.surrogates import HeaviTanh
from .layers.compose import compose
from .layers.neuron import Neuron
from .scan import scan
from .stages import EMA, Binary, Decay, Dual, Positive, Recurrent, Reset, Scaled, Stage, Synaptic, Ternary

__all__ = ["check_stage"]

HARD = HeaviTanh(2.0)
ERROR = {torch.float64: 1e-10, torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.02}

COMPANY = (
    (),
    (Dual,),
    (Binary,),
    (Ternary,),
    (Dual, Scaled),
    (Recurrent, Binary, Scaled),
    (EMA, Dual, Binary, Reset("zero")),
    (Synaptic, Ternary, Reset("subtract", detach=True)),
    (Dual, Synaptic, Recurrent, Reset("none"), Scaled),
)
"""What each stage is composed with, as far as `compose` accepts it."""


def check_stage(stage: type[Stage] | Stage, *, fuses: bool = True) -> None:
    """Test a stage in several compositions: alone, under `Dual`, firing up or both ways, with other stages.

    In float64, eager and fused: a scan equals stepping in outputs, states and gradients; two scans equal one; the order
    of the batch does not matter; gradients equal finite differences; saved states and copies go on alike; every
    parameter takes part.

    Args:
        stage: a stage class, or an instance where it is configured.
        fuses: False where the stage is known to run in eager only.

    Raises:
        AssertionError: what does not hold, and in which composition.
        ValueError: no composition accepts the stage.
    """
    found = accepted(stage)
    if not found:
        raise ValueError(f"check_stage: no composition accepts {stage!r}; tt.compose({stage!r}) says why")
    for composition in found:
        for backend in ("eager", "cpp") if fuses else ("eager",):
            with backends.backend(backend):
                for check in CHECKS:
                    try:
                        check(composition)
                    except Exception as error:
                        where = f"{composition.cls.__name__} on {backend}"
                        raise AssertionError(f"{where}: {check.__doc__} {error}") from error


@dataclass(frozen=True)
class Composition:
    """A composed class, and how to make layers of it."""

    cls: type[Neuron]

    @property
    def hard(self) -> bool:
        return self.fires and any(s.needs_hard_spikes or (isinstance(s, Reset) and s != Reset())
                                  for s in self.cls.stages)

    @property
    def detached(self) -> bool:
        """A subtracting reset that is detached is on purpose not the derivative of what it computes."""
        return any(isinstance(s, Reset) and s.mode == "subtract" and s.detach for s in self.cls.stages)

    @property
    def random(self) -> bool:
        return _draws(self)

    @property
    def fires(self) -> bool:
        return self.cls.pipeline.fires

    def build(self, n: int = 3, seed: int = 0, hard: Any = HARD, **options: Any) -> Neuron:
        """Make a layer whose parameters differ from each other and from neuron to neuron, float64 unless told.

        `hard` is the spike function where there have to be hard spikes; relu makes them and has a true gradient.
        """
        g = torch.Generator("cpu").manual_seed(seed + zlib.crc32(self.cls.__name__.encode()))
        dtype = options.get("dtype", torch.float64)
        for name, declared in self.cls.pipeline.parameters.items():
            shape = (n,) if options.get(f"{name}_rank", 1) else ()
            value = torch.rand(shape, generator=g, dtype=torch.float64, device="cpu").to(torch.get_default_device())
            if isinstance(declared, Decay):
                value = 0.4 + 0.5 * value
            elif isinstance(declared, Positive):
                value = 0.3 + 0.5 * value
            else:
                value = declared.default + 0.6 * value - 0.25
            options.setdefault(name, value.to(dtype))
        if self.hard:
            options.setdefault("spike_fn", hard)
        return self.cls(n, **options)


@functools.cache
def _draws(composition: Composition) -> bool:
    layer = composition.build()
    with backends.backend("eager"):
        layer(inputs(1, 3))
    return layer.rng is not None


def accepted(stage: type[Stage] | Stage) -> tuple[Composition, ...]:
    """Return the compositions of a stage with its company that `compose` accepts."""
    found = []
    for others in COMPANY:
        try:
            found.append(Composition(compose(stage, *others)))
        except ValueError:
            continue
    return tuple(dict.fromkeys(found))


def stepped(module: Any, x: Tensor) -> Tensor:
    """Run the definition: one call per step."""
    return torch.stack([module(x_t) for x_t in x])


def inputs(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return a random input that makes neurons fire up and down."""
    g = torch.Generator("cpu").manual_seed(seed)
    return (1.5 * _drawn(shape, g)).to(dtype)


def _drawn(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw float64 numbers, the same on every device."""
    numbers = torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu")
    return numbers.to(torch.get_default_device())


def start(layer: Any, shape: tuple[int, ...], seed: int = 2, requires_grad: bool = False,
          dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Give a layer random states of one step's shape, for inputs of `dtype`, and return them."""
    g = torch.Generator("cpu").manual_seed(seed)
    for name in layer.pipeline.states:
        state = 0.4 * _drawn(shape, g)
        setattr(layer, name, state.to(layer.dtypes(torch.zeros((), dtype=dtype))[1]).requires_grad_(requires_grad))
    return states(layer)


def states(layer: Any) -> dict[str, Tensor]:
    """Return the states of a layer by name, random numbers apart."""
    return {name: getattr(layer, name) for name in layer.pipeline.states}


def gradients(layer: Any, y: Tensor, *leaves: Tensor) -> list[Tensor]:
    """Return the gradients of a fixed loss on outputs and states: of the leaves, then of every parameter."""
    values = [y, *states(layer).values()]
    weights = [inputs(*v.shape, seed=i, dtype=v.dtype) for i, v in enumerate(values)]
    loss = torch.stack([(v * w).sum() for v, w in zip(values, weights, strict=True)]).sum()
    return list(torch.autograd.grad(loss, [*leaves, *layer.parameters()], materialize_grads=True))


def assert_close(got: Any, want: Any, error: float | None = None) -> None:
    """Check that `got` equals `want` up to `error` relative to the largest magnitude; dicts and lists by element."""
    if isinstance(want, dict):
        assert list(got) == list(want)
        return assert_close(list(got.values()), list(want.values()), error)
    if isinstance(want, (list, tuple)):
        assert len(got) == len(want)
        for one, other in zip(got, want, strict=True):
            assert_close(one, other, error)
        return None
    assert got.shape == want.shape and got.dtype == want.dtype
    got, want = got.detach(), want.detach()
    error = ERROR[want.dtype] if error is None else error
    scale = max(float(want.abs().max()), 1e-3) if want.numel() else 1.0
    torch.testing.assert_close(got, want, rtol=0, atol=error * scale)
    return None


def outcome(composition: Composition, run: Callable, requires_grad: bool = True) -> list[Tensor]:
    """Return outputs, final states and all gradients of a run from random start states."""
    torch.manual_seed(0)
    layer = composition.build()
    x = inputs(6, 2, 3).requires_grad_(requires_grad)
    first = list(start(layer, (2, 3), requires_grad=requires_grad, dtype=x.dtype).values())
    y = run(layer, x)
    return [y, *states(layer).values(), *gradients(layer, y, x, *first)]


def scan_equals_stepping(composition: Composition) -> None:
    """A scan equals stepping in eager."""
    with backends.backend("eager"):
        want = outcome(composition, stepped)
    assert_close(outcome(composition, scan), want)


def two_scans_equal_one(composition: Composition) -> None:
    """Two scans, one after the other, equal one."""
    two = outcome(composition, lambda layer, x: torch.cat([scan(layer, x[:2]), scan(layer, x[2:])]))
    assert_close(two, outcome(composition, scan))


def batch_order_does_not_matter(composition: Composition) -> None:
    """The order of the batch does not matter."""
    if composition.random:
        return
    x, order = inputs(5, 4, 3), torch.tensor([2, 0, 3, 1])
    one, other = composition.build(), composition.build()
    assert_close(scan(other, x[:, order]), scan(one, x)[:, order], 1e-12)
    assert_close(list(states(other).values()), [s[order] for s in states(one).values()], 1e-12)


def saved_states_continue(composition: Composition) -> None:
    """Saved and loaded states continue the run."""
    x = inputs(6, 2, 3)
    layer, other = composition.build(), composition.build()
    scan(layer, x[:3])
    saved = layer.save_states()
    assert set(states(layer)) <= set(saved) and not any(s.requires_grad for s in saved.values())
    want = scan(layer, x[3:])
    other.load_states(saved)
    assert_close(scan(other, x[3:]), want, 1e-12)
    assert_close(states(other), states(layer), 1e-12)


def copies_continue(composition: Composition, copied: Callable[[Neuron], Neuron] = copy.deepcopy) -> None:
    """A copy behaves the same after a training step."""
    x = inputs(6, 2, 3)
    layer = composition.build()
    optimizer = torch.optim.SGD([*layer.parameters(), torch.zeros(1, requires_grad=True)], lr=0.01)
    scan(layer, x[:3].requires_grad_()).square().sum().backward()
    optimizer.step()
    twin = copied(layer)
    assert type(twin) is type(layer)
    assert_close(dict(twin.state_dict()), dict(layer.state_dict()), 0.0)
    layer.detach_states()
    assert_close(scan(twin, x[3:]), scan(layer, x[3:]), 1e-12)
    assert_close(states(twin), states(layer), 1e-12)
    assert all(p.requires_grad and p.is_leaf for p in twin.parameters())


def gradients_equal_differences(composition: Composition) -> None:
    """Gradients equal finite differences."""
    if composition.random or composition.detached:
        return
    layer = composition.build(2, hard=torch.relu)
    x = inputs(4, 1, 2).requires_grad_()
    first = list(start(layer, (1, 2), requires_grad=True, dtype=x.dtype).values())

    def run(x: Tensor, *leaves: Tensor) -> tuple[Tensor, ...]:
        for name, state in zip(layer.pipeline.states, leaves[: len(first)], strict=True):
            setattr(layer, name, state)
        return (scan(layer, x), *states(layer).values())

    assert torch.autograd.gradcheck(run, (x, *first, *layer.parameters()), fast_mode=True)


def every_parameter_takes_part(composition: Composition) -> None:
    """Every parameter takes part: a gradient that is zero everywhere would mean one that nobody reads."""
    if not composition.fires:
        return      # without spikes some do not
    layer = composition.build()
    x = inputs(8, 4, 3).requires_grad_()
    start(layer, (4, 3))
    y = scan(layer, x)
    silent = [name for (name, _), g in zip(layer.named_parameters(), gradients(layer, y), strict=True) if not g.any()]
    assert silent == []


CHECKS: tuple[Callable[[Any], None], ...] = (
    scan_equals_stepping, two_scans_equal_one, batch_order_does_not_matter, saved_states_continue, copies_continue,
    gradients_equal_differences, every_parameter_takes_part,
)
