"""The kernels' functions against mpmath, over the whole range of each."""

import linecache

import pytest
import torch

triton = pytest.importorskip("triton", reason="Triton is an optional extra")
mpmath = pytest.importorskip("mpmath", reason="mpmath knows the right digits")
pytestmark = pytest.mark.triton

ULP = 3
FUNCTIONS = {
    "exp": (-85, 85), "expm1": (-30, 80), "log1p": (-0.99, 50), "log10": (0.01, 100), "tanh": (-10, 10),
    "sinh": (-80, 80), "cosh": (-80, 80), "asinh": (-1000, 1000), "acosh": (1, 100), "atanh": (-0.99, 0.99),
    "atan": (-10, 10), "asin": (-1, 1), "acos": (-1, 1), "tan": (-10, 10), "erfc": (-5, 9), "sqrt": (0, 100),
    "sigmoid": (-80, 80),
}  # fmt: skip
PAIRS = {"atan2": (-5, 5), "hypot": (-5, 5), "fmod": (-500, 500), "divide": (-5, 5)}
TRUE = {
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)), "atan2": lambda x, y: mpmath.atan2(x, y),
    "fmod": lambda x, y: x - y * int(x / y), "divide": lambda x, y: x / y,
}  # fmt: skip


def apply(expression, x, y):
    """`expression` of x and y, computed by a kernel."""
    text = (
        "import triton\nimport triton.language as tl\nfrom tracetorch.backends.triton import math as m\n"
        "@triton.jit\ndef kernel(a, b, out, BLOCK: tl.constexpr):\n"
        "    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)\n"
        f"    x, y = tl.load(a + i), tl.load(b + i)\n    tl.store(out + i, {expression})\n"
    )
    name = f"<{expression}>"
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    module = {"__name__": name}
    exec(compile(text, name, "exec"), module)
    out = torch.full_like(x, float("nan"))
    module["kernel"][(1,)](x, y, out, BLOCK=len(x))
    return out


def points(low, high, seed, n=512):
    g = torch.Generator("cpu").manual_seed(seed)
    return low + (high - low) * torch.rand(n, generator=g, dtype=torch.float64, device="cpu")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")       # NumPy's, where a branch not taken divides by zero
@pytest.mark.parametrize("name", [*FUNCTIONS, *PAIRS])
def test_functions(name, dtype, device):
    x, y = points(*(FUNCTIONS | PAIRS)[name], 1).to(device, dtype), points(-6, 6, 2).to(device, dtype)
    got = apply(f"m.{name}(x, y)" if name in PAIRS else f"m.{name}(x)", x, y)
    true = TRUE.get(name) or getattr(mpmath, name)
    given = zip(x.tolist(), y.tolist(), strict=True) if name in PAIRS else ((v,) for v in x.tolist())
    with mpmath.workdps(40):
        want = [true(*map(mpmath.mpf, v)) for v in given]
        off = [abs(g - w) / (abs(w) * torch.finfo(dtype).eps) for g, w in zip(got.tolist(), want, strict=True) if w]
    slack = 80 if name == "sigmoid" and device.type == "cuda" and dtype is torch.float32 else 0     # of -x/ln(2)
    assert max(off) < ULP + slack


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_powers(dtype, device):
    x, y = points(0.05, 20, 1).to(device, dtype), points(-6, 6, 2).to(device, dtype)
    torch.testing.assert_close(apply("m.pow(x, y)", x, y), torch.pow(x.double(), y.double()).to(dtype),
                               rtol=(2 if dtype is torch.float32 else 64) * torch.finfo(dtype).eps, atol=0)


INF = float("inf")
SPECIAL = [0.0, -0.0, 0.5, -0.5, 1.5, 2.5, -2.5, 1.0, -1.0, 3e6, -8388609.0, INF, -INF, float("nan"), 1e-30]
EXACT = {
    "m.round_even(x)": lambda x, y: x.round(), "m.trunc(x)": lambda x, y: x.trunc(), "m.sign(x)": lambda x, y: x.sign(),
    "m.minimum(x, y)": torch.minimum, "m.maximum(x, y)": torch.maximum, "m.fmin(x, y)": torch.fmin,
    "m.fmax(x, y)": torch.fmax, "m.copysign(x, y)": torch.copysign, "m.fmod(x, y)": torch.fmod,
    "m.pow(x, y)": torch.pow,
    "m.tanh(x)": lambda x, y: x.tanh(), "m.expm1(x)": lambda x, y: x.expm1(), "m.log1p(x)": lambda x, y: x.log1p(),
    "m.atan(x)": lambda x, y: x.atan(), "m.erfc(x)": lambda x, y: x.erfc(), "m.exp(x)": lambda x, y: x.exp(),
    "m.sinh(x)": lambda x, y: x.sinh(), "m.cosh(x)": lambda x, y: x.cosh(), "m.atan2(x, y)": torch.atan2,
    "m.hypot(x, y)": torch.hypot, "m.asinh(x)": lambda x, y: x.asinh(), "m.acos(x)": lambda x, y: x.acos(),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("expression", EXACT)
def test_limits_and_special_values(expression, dtype, device):
    values = torch.tensor(SPECIAL + [2.0], dtype=dtype, device="cpu")
    x, y = (v.flatten() for v in torch.meshgrid(values, values, indexing="ij"))
    if "fmod" in expression:
        near = (x / y).abs().nan_to_num(0, 0) < 2**23
        x, y = x.where(near, 1)[:256], y.where(near, 1)[:256]
    got, want = apply(expression, x.to(device), y.to(device)).cpu(), EXACT[expression](x, y)
    ulp = 64 if "pow" in expression else 4
    torch.testing.assert_close(got, want, equal_nan=True, rtol=ulp * torch.finfo(dtype).eps, atol=0)
