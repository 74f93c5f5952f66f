"""One scan of a bare step on a named backend."""

import torch

import tracetorch as tt


def scan(backend, step, x, states, stored, dim=1, rng=None, record=()):
    """Return output, new states and recordings by name; `states` and `stored` are by name too."""
    dtype = next(iter(stored.values())).dtype
    call = tt.backends.Call(x.device, x.shape[1:], dim, x.dtype, dtype, {n: p.ndim for n, p in stored.items()}, record)
    with tt.backend(backend):
        plan = tt.backends.bind(step, call)
    assert plan.backend == backend
    y, finals, recordings, _ = plan(x, [states.get(n) for n in step.pipeline.states], list(stored.values()), rng)
    return y, dict(zip(step.pipeline.states, finals, strict=True)), dict(zip(record, recordings, strict=True))


def why_not(backend, layer, x):
    """Return why a backend can't scan x [T, num_neurons] with a layer; None where it can."""
    step, call = layer.step_and_call(torch.float32, x.device)
    try:
        tt.backends.fused(backend, step, call._replace(io=x.dtype))
    except tt.backends.Refused as error:
        return str(error)
    return None
