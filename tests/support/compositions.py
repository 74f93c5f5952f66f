"""Every stage in company: the compositions that the generic tests run over, and how to build and run one."""

import functools
import zlib
from dataclasses import dataclass

import torch
from torch import nn

import tests.stages.own  # noqa: F401  (its stages join below)
import tracetorch as tt
from tracetorch.functional import HeaviTanh

HARD = HeaviTanh(2.0)
ERROR = {torch.float64: 1e-10, torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.02}
COMPANY = (
    (),
    (tt.Dual,),
    (tt.Binary,),
    (tt.Ternary,),
    (tt.Dual, tt.Scaled),
    (tt.Recurrent, tt.Binary, tt.Scaled),
    (tt.EMA, tt.Dual, tt.Binary, tt.Reset("zero")),
    (tt.Synaptic, tt.Ternary, tt.Reset("subtract", detach=True)),
    (tt.Dual, tt.Synaptic, tt.Recurrent, tt.Reset("none"), tt.Scaled),
)
"""What each stage is composed with, as far as `compose` accepts it."""


class Net(tt.Model):
    """Two layers with a plain module between them."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([tt.snn.SLIB(3), tt.snn.LI(3)])
        self.between = nn.Linear(3, 3)

    def forward(self, x):
        return self.layers[1](self.between(self.layers[0](x)))


def outcome(model, run, x):
    """Output, gradients and states of a run from fresh states."""
    tt.zero_states(model)
    model.zero_grad()
    leaf = x.clone().requires_grad_()
    y = run(leaf)
    y.square().sum().backward()
    return [y, leaf.grad, *(p.grad for p in model.parameters()), *tt.save_states(model).values()]


def stages() -> list[type[tt.Stage]]:
    """Every stage of the library and of tests/stages/own."""
    found, todo = [], [tt.Stage]
    while todo:
        for stage in todo.pop().__subclasses__():
            todo.append(stage)
            if stage.__module__.startswith(("tracetorch.", "tests.stages.own.")):
                found.append(stage)
    return sorted(found, key=lambda stage: stage.__name__)


@dataclass(frozen=True)
class Composition:
    """A composed class, and how to make layers of it."""

    cls: type

    @property
    def hard(self) -> bool:
        return self.fires and any(s.needs_hard_spikes or (isinstance(s, tt.Reset) and s != tt.Reset())
                                  for s in self.cls.stages)

    @property
    def random(self) -> bool:
        return _draws(self)

    @property
    def fires(self) -> bool:
        return self.cls.pipeline.fires

    def build(self, n=3, seed=0, hard=HARD, **options):
        """A layer whose parameters differ from each other and from neuron to neuron, float64 unless told.

        `hard` is the spike function where there have to be hard spikes; relu makes them and has a true gradient.
        """
        g = torch.Generator().manual_seed(seed + zlib.crc32(self.cls.__name__.encode()))
        dtype = options.get("dtype", torch.float64)
        for name, declared in self.cls.pipeline.parameters.items():
            shape = (n,) if options.get(f"{name}_rank", 1) else ()
            value = torch.rand(shape, generator=g, dtype=torch.float64)
            if isinstance(declared, tt.Decay):
                value = 0.4 + 0.5 * value
            elif isinstance(declared, tt.Positive):
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
    with tt.backend("eager"):
        layer(inputs(1, 3))
    return layer.rng is not None


@functools.cache
def accepted(stage: type[tt.Stage]) -> tuple[Composition, ...]:
    """The compositions of a stage with its company that `compose` accepts."""
    found = []
    for others in COMPANY:
        try:
            found.append(Composition(tt.compose(stage, *others)))
        except ValueError:
            continue
    return tuple(dict.fromkeys(found))


STAGES = stages()
COMPOSITIONS = tuple(dict.fromkeys(c for stage in STAGES for c in accepted(stage)))
SMALLEST = tuple(dict.fromkeys(accepted(stage)[0] for stage in STAGES))
"""One composition per stage, with as little company as it needs."""
EXTREMES = tuple(dict.fromkeys((*SMALLEST, *(accepted(stage)[-1] for stage in STAGES))))
"""Per stage the composition with the least and the one with the most company."""


def name_of(composition: Composition) -> str:
    return composition.cls.__name__


def stepped(module, x):
    """The definition: one call per step."""
    return torch.stack([module(x_t) for x_t in x])


def inputs(*shape, seed=1, dtype=torch.float64):
    """A random input that makes neurons fire up and down."""
    g = torch.Generator().manual_seed(seed)
    return (1.5 * torch.randn(shape, generator=g, dtype=torch.float64)).to(dtype)


def start(layer, shape, seed=2, requires_grad=False):
    """Give a layer random states of one step's shape, and return them."""
    g = torch.Generator().manual_seed(seed)
    for name in layer.pipeline.states:
        state = 0.4 * torch.randn(shape, generator=g, dtype=torch.float64)
        setattr(layer, name, state.to(layer.dtypes(torch.zeros(()))[1]).requires_grad_(requires_grad))
    return states(layer)


def states(layer):
    """The states of a layer by name, random numbers apart."""
    return {name: getattr(layer, name) for name in layer.pipeline.states}


def gradients(layer, y, *leaves):
    """Gradients of a fixed loss on outputs and states: of the leaves, then of every parameter."""
    values = [y, *states(layer).values()]
    weights = [inputs(*v.shape, seed=i, dtype=v.dtype) for i, v in enumerate(values)]
    loss = sum((v * w).sum() for v, w in zip(values, weights, strict=True))
    return list(torch.autograd.grad(loss, [*leaves, *layer.parameters()], materialize_grads=True))


def assert_close(got, want, error=None):
    """`got` equals `want` up to `error` relative to the largest magnitude; dicts and lists by element."""
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
