"""One scan of a bare step on a named backend."""

import tracetorch as tt


def scan(backend, step, x, states, stored, dim=1, rng=None, record=()):
    """Return output, new states and recordings by name; `states` and `stored` are by name too."""
    with tt.backend(backend):
        plan = tt.backends.bind(step, x, list(stored.values()), record, dim)
    assert plan.backend == backend
    y, finals, recordings, _ = plan(x, [states.get(n) for n in step.pipeline.states], list(stored.values()), rng)
    return y, dict(zip(step.pipeline.states, finals, strict=True)), dict(zip(record, recordings, strict=True))


def why_not(backend, layer, x, dim=0):
    """Return why a backend can't scan x [T, *step] with a layer; None where it can."""
    try:
        tt.backends.fused(backend, layer.bound_step(), x, list(layer.stored().values()), (), dim)
    except tt.backends.Refused as error:
        return str(error)
    return None
