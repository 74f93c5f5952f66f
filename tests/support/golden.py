"""The recorded numbers of tests/golden: load them, build the recorded layer, compare with them."""

import functools
import json
import pathlib

import numpy as np
import torch

import tracetorch as tt

ROOT = pathlib.Path(__file__).parents[1] / "golden"
MANIFEST = json.loads((ROOT / "manifest.json").read_text())
CASES = MANIFEST["cases"]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5}
"""The record was computed in float64, in another order. At worst eager misses it by 2e-14 and, in float32, by 8e-6:
twice that is allowed, and more in float64, where the last digits of exp differ between processors."""
SPIKE = {"tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid}
FLOOR = 1e-3  # tensors below this size are compared absolutely


def case_id(case):
    return f"{case['scenario']}-{case['class']}"


@functools.cache
def _file(name):
    archive = np.load(ROOT / name)
    return json.loads(bytes(archive["index"])), {"f64": archive["f64"], "f16": archive["f16"]}


def arrays(case):
    """Every recorded array of a case by name, as float64 tensors."""
    index, flat = _file(case["file"])
    found = {}
    for name, (vector, offset, shape) in index[case["class"]].items():
        values = flat[vector][offset : offset + int(np.prod(shape))]
        found[name] = torch.from_numpy(values.reshape(shape).astype(np.float64)).to(torch.get_default_device())
    return found


def _argument(name, value):
    if name == "quant_fn":
        return tt.functional.round_ste(value[1])
    if name == "spike_fn":
        return SPIKE[value]
    if isinstance(value, list):
        return torch.tensor(value, dtype=torch.float64)
    if isinstance(value, dict):
        return torch.tensor(value["scalar_tensor"], dtype=torch.float64)
    return value


def build(case):
    """The case's layer as its constructor leaves it."""
    kwargs = {name: _argument(name, value) for name, value in case["kwargs"].items()}
    return getattr(tt.snn, case["class"])(**kwargs)


def raw(layer):
    """The unconstrained parameters, learnable or not, by name."""
    buffers = {name: b for name, b in layer.named_buffers() if name.startswith("raw_")}
    return {**dict(layer.named_parameters()), **buffers}


def loaded(case, recorded, dtype):
    """The case's layer in `dtype`, holding exactly the recorded parameters."""
    layer = build(case).to(dtype)
    with torch.no_grad():
        for name, parameter in raw(layer).items():
            parameter.copy_(recorded["raw/" + name])
    return layer


def error(got, want):
    """Largest difference relative to the largest recorded magnitude."""
    assert got.shape == want.shape, f"shape {tuple(got.shape)}, recorded {tuple(want.shape)}"
    got = got.detach().to(torch.float64)
    assert torch.isfinite(got).all(), "not finite"
    if want.numel() == 0:
        return 0.0
    return float((got - want).abs().max()) / max(float(want.abs().max()), FLOOR)


def assert_recorded(pairs, tolerance):
    """`pairs`: name -> (got, recorded). Says which ones are off and by how much."""
    errors = {name: error(got, want) for name, (got, want) in pairs.items()}
    off = {name: f"{e:.2e}" for name, e in errors.items() if not e <= tolerance}
    assert not off, f"off by more than {tolerance:.0e}: {off}"


def check(case, dtype, run):
    """One run from the recorded start states: outputs, final states, then every gradient."""
    recorded, tolerance = arrays(case), TOLERANCE[dtype]
    layer = loaded(case, recorded, dtype)
    x = recorded["x"].to(dtype).requires_grad_()
    start = {}
    for name in case["states"]:
        assert getattr(layer, name) is None
        if "s0/" + name in recorded:
            start[name] = recorded["s0/" + name].to(dtype).requires_grad_()
            setattr(layer, name, start[name])

    y = run(layer, x)
    states = {name: getattr(layer, name) for name in case["states"]}
    assert y.dtype == dtype
    values = {"y": (y, recorded["y"])}
    values |= {"state " + name: (s, recorded["s/" + name]) for name, s in states.items()}
    assert_recorded(values, tolerance)

    loss = (recorded["w"].to(dtype) * y).sum()
    loss = loss + sum((recorded["v/" + name].to(dtype) * s).sum() for name, s in states.items())
    loss.backward()
    gradients = {"x": (x.grad, recorded["gx"])}
    gradients |= {name: (p.grad, recorded["g/" + name]) for name, p in layer.named_parameters()}
    gradients |= {"start " + name: (s.grad, recorded["gs0/" + name]) for name, s in start.items()}
    missing = {name: (torch.zeros_like(want), want) for name, (got, want) in gradients.items() if got is None}
    assert_recorded(gradients | missing, tolerance)
    assert not any(b.requires_grad for b in layer.buffers())
