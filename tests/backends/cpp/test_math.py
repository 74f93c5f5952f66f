"""The C++ vector functions against float64, and numbers narrower than float32 bit for bit."""

import ctypes

import numpy as np
import pytest
import torch

from tracetorch.backends.cpp import build

FUNCTIONS = ("exp", "sigmoid", "tanh", "log", "log1p", "expm1", "atan", "erf", "erfc")
LIBRARY = {"sqrt": "std::sqrt", "round": "std::nearbyint", "floor": "std::floor"}
OTHERS = ("sin", "cos", "asinh", "log2", "exp2")
NARROW = {torch.bfloat16: "bfloat16", torch.float16: "float16"}
ULP = 4

LOOP = """
extern "C" void {name}(const {of}* x, {to}* y, long n) {{
#pragma omp simd
  for (long i = 0; i < n; i++) {code};
}}
"""


@pytest.fixture(scope="module")
def library():
    spelt = {f: f"tt::{f}" for f in FUNCTIONS} | LIBRARY | {f: f"std::{f}" for f in OTHERS}
    text = '#include "number.h"\n'
    for f, code in spelt.items():
        text += LOOP.format(name=f"f_{f}", of="float", to="float", code=f"y[i] = {code}(x[i])")
    for name in NARROW.values():
        text += LOOP.format(name=f"store_{name}", of="float", to=f"tt::{name}", code="tt::store(y[i], x[i])")
        text += LOOP.format(name=f"load_{name}", of=f"tt::{name}", to="float", code="y[i] = tt::load<float>(x[i])")
    return build.load(text)


def call(library, name, x, dtype=np.float32):
    y = np.empty(x.shape, dtype)
    getattr(library, name)(ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data), ctypes.c_long(x.size))
    return y


def samples():
    """Every kind of float32: random bits, dense ranges, the edges."""
    bits = np.random.default_rng(0).integers(0, 2**32, 400_000, dtype=np.uint64).astype(np.uint32).view(np.float32)
    dense = [np.linspace(-r, r, 200_001) for r in (1.0, 20.0, 110.0)]
    edges = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1e-40, 88.72284, -87.4, -103.98, 9.2, 10.06, 0.93]
    return np.concatenate([bits, *(d.astype(np.float32) for d in dense), np.array(edges, np.float32)])


@pytest.mark.parametrize("name", [*FUNCTIONS, *LIBRARY, *OTHERS])
def test_within_4_ulp_of_float64(library, name):
    x = samples()
    got, want = call(library, f"f_{name}", x), getattr(torch, name)(torch.from_numpy(x).double()).numpy()
    with np.errstate(over="ignore"):
        rounded = want.astype(np.float32)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(rounded))
    np.testing.assert_array_equal(np.isinf(got), np.isinf(rounded))
    finite = np.isfinite(rounded)
    error = np.abs(got[finite].astype(np.float64) - want[finite]) / np.spacing(np.abs(rounded[finite]))
    assert error.max() <= ULP


@pytest.mark.parametrize("name", [*FUNCTIONS, *LIBRARY])
def test_signs_of_zero_and_infinity_are_those_of_torch(library, name):
    x = np.array([0.0, -0.0, np.inf, -np.inf], np.float32)
    got, want = call(library, f"f_{name}", x), getattr(torch, name)(torch.from_numpy(x)).numpy()
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(np.signbit(got)[~np.isnan(want)], np.signbit(want)[~np.isnan(want)])


@pytest.mark.parametrize("dtype", NARROW, ids=NARROW.values())
def test_narrow_numbers_bit_for_bit(library, dtype):
    every = np.arange(65536, dtype=np.uint16)
    as_torch = torch.from_numpy(every.view(np.int16)).view(dtype)
    wide = call(library, f"load_{NARROW[dtype]}", every)
    np.testing.assert_array_equal(wide, as_torch.float().numpy())

    ordered = np.sort(wide[np.isfinite(wide)])
    middle = ordered[:-1] / 2 + ordered[1:] / 2      # ties, and their neighbours
    beside = [np.nextafter(middle, np.float32(side)) for side in (np.inf, -np.inf)]
    x = np.concatenate([samples(), middle, *beside])
    got = torch.from_numpy(call(library, f"store_{NARROW[dtype]}", x, np.uint16).view(np.int16)).view(dtype)
    want = torch.from_numpy(x).to(dtype)
    assert torch.equal(got.isnan(), want.isnan())
    assert torch.equal(got.view(torch.int16)[~want.isnan()], want.view(torch.int16)[~want.isnan()])
