"""Tolerances that are measured: what a reference of the same precision misses by itself."""

import copy

import torch

import tracetorch as tt
from tests.support.compositions import outcome

REFERENCES = 8


def missed(found, exact):
    """How far the tensors are from those of float64, in parts of each one's largest; the worst of them."""
    assert all(f.shape == e.shape and e.dtype == torch.float64 for f, e in zip(found, exact, strict=True))
    worst = 0.0
    for one, right in zip(found, exact, strict=True):
        assert one.isfinite().all() and right.isfinite().all()
        if right.numel():
            distance = (one.detach().double() - right.detach()).abs().max()
            worst = max(worst, float(distance / right.detach().abs().max().clamp_min(torch.finfo(one.dtype).tiny)))
    return worst


def assert_as_right(got, references, exact):
    """`got`, tensors of one run, miss float64's `exact` at most twice as far as any reference does, plus one rounding.

    One reference can be right by luck where tensors are small; several of `nearby` numbers are not.
    """
    assert all(g.dtype == r.dtype for reference in references for g, r in zip(got, reference, strict=True))
    rounding = torch.finfo(got[0].dtype).eps
    allowed = 2 * max(missed(reference, exact) for reference in references) + rounding
    assert allowed < rounding**0.5, f"references that miss by {allowed / 2:.3g} are none: half of the digits are wrong"
    found = missed(got, exact)
    assert found <= allowed, f"misses float64 by {found:.3g} of the largest; the references allow {allowed:.3g}"


def nearby(model, x):
    """The model and its input, then both in several ways with each number moved up or down by one rounding, or not."""
    yield model, x
    for seed in range(1, REFERENCES):
        generator, other = torch.Generator("cpu").manual_seed(seed), copy.deepcopy(model)
        tt.zero_states(other)
        other.zero_grad()
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.copy_(moved(parameter, generator))
        yield other, moved(x, generator)


def moved(x, generator):
    way = torch.randint(-1, 2, x.shape, generator=generator, device="cpu").to(x)
    return x * (1 + way * torch.finfo(x.dtype).eps)


def output(model, run, x):
    """What a run gives without gradients, from fresh states."""
    tt.zero_states(model)
    with torch.no_grad():
        return [run(x)]


def check_rounds_as_eager(model, run, x, found=outcome, **options):
    """What `found(model, run, x)` lists is as right as what the eager backend computes in the same precision."""
    def eager(model, x):
        return found(model, lambda v: tt.scan(model, v, backend="eager", **options), x)

    exact = eager(copy.deepcopy(model).double(), x.double())
    assert_as_right(found(model, run, x), [eager(*one) for one in nearby(model, x)], exact)
