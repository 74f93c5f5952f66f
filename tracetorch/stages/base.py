"""The base of every stage: a stage declares parameters, states and `step`, and nothing else."""

from __future__ import annotations

from typing import Any, TypeVar

from .parameters import Parameter, State

PLACES = ("rule", "input", "drive", "membrane", "threshold", "fire", "gate", "reset", "output")
"""Where in a step a stage runs, from first to last."""

_Declared = TypeVar("_Declared", Parameter, State)


class Stage:
    """One stage of a neuron, written as ordinary PyTorch for one time step.

    Subclasses declare class attributes (`tt.Decay`, `tt.Positive`, `tt.Bias`, `tt.Real`, `tt.State`) and
    `step(self, s)`; `after(self, s)` runs in the same order once the output is known. `s` is a namespace:

    - `s.x` input, `s.drive` what the membrane integrates, `s.potential` membrane before reset,
      `s.shift` raises every threshold, `s.spike` signed spikes, `s.output`; all states and parameters;
    - `s.branches` the traces a value is split into (one, or a positive and a negative one under `Dual`),
      `s.sides` the directions of firing (one, or two under `Ternary`): `b.mem` is that branch's `mem`,
      `b.part(v)` its share of `v`, `s.branches.total("mem")` the sum over the branches;
    - `s.fire(v)` is `quant_fn(spike_fn(v))`.

    Assigning a state carries it to the next step; assigning anything else holds until the end of this one.
    Keyword arguments of a stage's own `__init__` are its configuration: stages of one class that agree in
    them are equal.
    """

    place = "threshold"
    symbol: str | None = None
    """What the stage adds to the name of a neuron; without one the class name is appended."""
    sided = False
    """True for a firing stage with two directions: `sided` parameters become pairs."""
    needs_hard_spikes = False
    """True where the stage asks whether a neuron has fired, which needs spikes that can be exactly zero."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.place not in PLACES:
            raise ValueError(f"{cls.__name__}.place: got {cls.place!r}, allowed are {', '.join(PLACES)}")

    def step(self, s: Any) -> None:
        """Compute this stage's share of one time step."""

    def after(self, s: Any) -> None:
        """Update what depends on this step's output."""

    def parameters(self) -> dict[str, Parameter]:
        """Return the declared parameters by name."""
        return _declared(type(self), Parameter)

    def states(self) -> dict[str, State]:
        """Return the declared states by name."""
        return _declared(type(self), State)

    def changes(self) -> dict[str, Any]:
        """Return the configuration where it differs from the default one."""
        try:
            usual = vars(type(self)())
        except TypeError:       # there is no default configuration
            usual = {}
        return {k: v for k, v in vars(self).items() if k not in usual or usual[k] != v}

    @property
    def label(self) -> str:
        """Class name and changed configuration, as part of an identifier: `ResetZeroDetach`."""
        text = type(self).__name__
        for key, value in self.changes().items():
            text += ("" if value else "No") + key.title() if isinstance(value, bool) else str(value).title()
        return "".join(c if c.isalnum() else "_" for c in text)

    def _key(self) -> tuple:
        return type(self), tuple((name, exact(value)) for name, value in sorted(vars(self).items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stage) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in sorted(vars(self).items()))})"


def exact(value: Any) -> Any:
    """Return what tells a value from those that are equal and yet another: 2, 2.0 and True are three."""
    if isinstance(value, tuple):
        return type(value), tuple(map(exact, value))
    return type(value), repr(value) if isinstance(value, float) else value


def _declared(cls: type, kind: type[_Declared]) -> dict[str, _Declared]:
    """Collect class attributes of one kind, base classes first, in the order they were written."""
    found: dict[str, _Declared] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, kind):
                found[name] = value
            else:
                found.pop(name, None)
    return found
