"""Hypothesis strategies: a neuron composed at random, with input of any shape, dimension, strides and start."""

import dataclasses
import itertools
import random
from dataclasses import dataclass

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import tracetorch as tt
from tests.support.compositions import STAGES, Composition

PROPERTY = settings(max_examples=30, deadline=None, derandomize=True, database=None,
                    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@dataclass(frozen=True)
class Kind:
    """What decides which kernel runs; there are few, so that a backend that compiles has few to compile."""

    composition: Composition
    dtype: torch.dtype
    scalars: frozenset
    """Parameters with one value for all neurons."""
    fixed: frozenset
    """Parameters that are not learned."""

    def __repr__(self):
        return f"{self.composition.cls.__name__} {self.dtype} scalars={set(self.scalars)} fixed={set(self.fixed)}"


FIRING = ((), (tt.Binary,), (tt.Ternary,), (tt.Binary, tt.Reset("zero")), (tt.Ternary, tt.Reset("none")))


def _random_kinds(count):
    """Compositions with up to three random stages, half of them dual, with random ranks and learned parameters."""
    draw = random.Random(5)
    found = {}
    for i in itertools.count():
        stages = draw.sample(STAGES, draw.randint(0, 3)) + [tt.Dual] * (i % 2)
        try:
            composition = Composition(tt.compose(*dict.fromkeys(stages), *FIRING[i % 5]))
        except ValueError:
            continue
        names = list(composition.cls.pipeline.parameters)
        scalars, fixed = (frozenset(n for n in names if draw.random() < p) for p in (0.4, 0.2))
        dtype = torch.float32 if len(found) % 4 == 0 else torch.float64
        found.setdefault(composition, Kind(composition, dtype, scalars, fixed))
        if len(found) == count:
            return list(found.values())


KINDS = _random_kinds(24)
"""Shared by every property."""


@dataclass(frozen=True)
class Case:
    """A layer to be, and its input [T, *step shape]."""

    kind: Kind
    shape: tuple
    dim: int
    steps: int
    layout: str
    warm: bool
    seed: int

    @property
    def dtype(self):
        return self.kind.dtype

    @property
    def random(self):
        return self.kind.composition.random

    def layer(self, **options):
        """A layer, always the same one, with its start states."""
        axis = self.dim % len(self.shape)
        ranks = {f"{name}_rank": 0 for name in self.kind.scalars}
        learn = {f"learn_{name}": False for name in self.kind.fixed}
        options = {"dim": self.dim, "dtype": self.dtype, **ranks, **learn, **options}
        layer = self.kind.composition.build(self.shape[axis], seed=self.seed, **options)
        if self.warm:
            g = torch.Generator().manual_seed(self.seed)
            for name in layer.pipeline.states:
                setattr(layer, name, (0.4 * torch.randn(self.shape, generator=g)).to(self.dtype))
        return layer

    def input(self):
        """A random input, laid out in memory as `layout` says."""
        g = torch.Generator().manual_seed(self.seed + 1)
        shape = (self.steps, *self.shape)
        stored, view = {
            "plain": (shape, lambda x: x),
            "transposed": (shape[::-1], lambda x: x.permute(*range(len(shape))[::-1])),
            "sliced": ((2 * shape[0], *shape[1:-1], 2 * shape[-1]), lambda x: x[::2, ..., 1::2]),
            "repeated": (shape[1:], lambda x: x.expand(shape)),
        }[self.layout]
        return view(1.5 * torch.randn(stored, generator=g).to(self.dtype))

    def like(self, **changes):
        """The same case but for some of it."""
        return dataclasses.replace(self, **changes)


@st.composite
def cases(draw, batches=0, least_steps=1):
    """Cases of every kind; `batches` asks for so many batch dimensions at least."""
    batch = draw(st.lists(st.integers(0, 3), min_size=batches, max_size=3))
    axis = draw(st.integers(0, len(batch)))
    shape = (*batch[:axis], draw(st.integers(1, 4)), *batch[axis:])
    return Case(
        kind=draw(st.sampled_from(KINDS)),
        shape=shape,
        dim=draw(st.sampled_from([axis, axis - len(shape)])),
        steps=draw(st.integers(least_steps, 7)),
        layout=draw(st.sampled_from(["plain", "transposed", "sliced", "repeated"])),
        warm=draw(st.booleans()),
        seed=draw(st.integers(0, 5)),
    )
