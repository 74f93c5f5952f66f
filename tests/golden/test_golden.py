"""Every layer against the recorded numbers: outputs, states, gradients and names, stepped and scanned."""

import inspect

import pytest
import torch

import tracetorch as tt
from tests.support.golden import (
    CASES,
    MANIFEST,
    TOLERANCE,
    arrays,
    assert_recorded,
    build,
    case_id,
    check,
    loaded,
    raw,
)


def step(layer, x):
    return torch.stack([layer(x_t) for x_t in x])


def scan_scan(layer, x):
    k = max(1, len(x) // 3)
    return torch.cat([tt.scan(layer, x[:k]), tt.scan(layer, x[k:])])


def step_scan(layer, x):
    return torch.cat([layer(x[0])[None], tt.scan(layer, x[1:])])


def scan_step(layer, x):
    return torch.cat([tt.scan(layer, x[:-1]), layer(x[-1])[None]])


MODES = {"step": step, "scan": tt.scan, "scan+scan": scan_scan, "step+scan": step_scan, "scan+step": scan_step}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_layers_match_the_record(case, dtype, backend, mode):
    with tt.backend(backend):
        check(case, dtype, MODES[mode])


@pytest.mark.parametrize("case", [c for c in CASES if c["scenario"] == "a_default"], ids=case_id)
def test_states_detach_and_zero(case):
    layer = build(case)
    with tt.backend("eager"):
        step(layer, arrays(case)["x"].float())
    layer.detach_states()
    assert not any(getattr(layer, name).requires_grad for name in case["states"])
    layer.zero_states()
    assert all(getattr(layer, name) is None for name in case["states"])


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_constructor_gives_the_recorded_parameters(case, dtype):
    recorded, layer = arrays(case), build(case).to(dtype)
    assert sorted(name for name, _ in layer.named_parameters()) == case["parameters"]
    assert sorted(name for name, b in layer.named_buffers() if name.startswith("raw_")) == case["buffers"]
    for name, value in raw(layer).items():
        # a float argument passes through float32 in the constructor, a float64 tensor does not
        exact = isinstance(case["kwargs"].get(name[len("raw_") :]), (list, dict)) and dtype is torch.float64
        assert value.dtype is dtype
        assert_recorded({name: (value, recorded["raw/" + name])}, 1e-9 if exact else 2e-6)


@pytest.mark.parametrize("case", [c for c in CASES if c.get("compile")], ids=case_id)
def test_compiled_layers_keep_their_numbers(case, dtype, backend):
    recorded, tolerance = arrays(case), TOLERANCE[dtype]
    layer = loaded(case, recorded, dtype)
    x = recorded["x"].to(dtype)
    before = {name: p.detach().clone() for name, p in layer.state_dict().items()}
    names = MANIFEST["api"][case["class"]]["activated"]
    values = {name: getattr(layer, name).detach().clone() for name in names}

    def runs():
        for run in (step, tt.scan):
            layer.zero_states()
            with tt.backend(backend):
                assert_recorded({"y": (run(layer, x), recorded["y"])}, tolerance)

    layer.TTcompile()
    assert sorted(layer.state_dict()) == sorted(names)
    assert_recorded({n: (getattr(layer, n), v.double()) for n, v in values.items()}, tolerance)
    runs()
    layer.TTdecompile()
    after = dict(layer.named_parameters())
    assert sorted(after) == sorted(before)
    assert_recorded({n: (after[n], v.double()) for n, v in before.items()}, tolerance)
    runs()


@pytest.mark.parametrize("name", MANIFEST["api"])
def test_signatures_and_names_are_the_recorded_ones(name):
    want, cls = MANIFEST["api"][name], getattr(tt.snn, name)
    for callable_, skip in ((cls, 0), (cls.__init__, 1)):
        given = list(inspect.signature(callable_).parameters.values())[skip:]
        assert [p.name for p in given[: len(want["signature"])]] == [n for n, _ in want["signature"]]
        for parameter, (_, default) in zip(given, want["signature"], strict=False):
            if not isinstance(default, dict):
                assert type(parameter.default) is type(default) and parameter.default == default
            else:
                assert (parameter.default is inspect.Parameter.empty) == bool(default.get("required"))
        assert [p.name for p in given[len(want["signature"]) :]] == ["device", "dtype"]

    layer = cls(3)
    assert isinstance(layer, tt.Layer)
    assert (layer.num_neurons, layer.dim) == (3, -1)
    assert sorted(n for n, _ in layer.named_parameters()) == sorted(want["parameters"])
    assert sorted(n for n, _ in layer.named_buffers() if n.startswith("raw_")) == sorted(want["buffers"])
    assert sorted(layer.state_dict()) == sorted(want["state_dict"])
    assert all(getattr(layer, n) is None for n in want["states"])
    assert all(isinstance(getattr(layer, n), torch.Tensor) for n in want["activated"])
