"""Functions that Triton lacks, or spells less exactly than torch, for float32 and float64.

They run compiled and interpreted alike (Triton's libdevice does neither in the interpreter). Errors are a few
units in the last place; `pow` in float64 grows to a few hundred where the result is extreme.
"""

import torch
import triton
import triton.language as tl

from .tuples import INTERPRETED, at_compile_time

COMPILED_FOR_NVIDIA = tl.constexpr(not INTERPRETED and torch.version.hip is None)


@triton.jit
def sigmoid(x):
    """1 / (1 + exp(-x)), in four instructions where it can be: a full division alone takes nine."""
    if COMPILED_FOR_NVIDIA and x.dtype == tl.float32:
        y = tl.inline_asm_elementwise("rcp.approx.ftz.f32 $0, $1;", "=f,f", [1.0 + tl.exp2(x * -1.4426950408889634)],
                                      dtype=tl.float32, is_pure=True, pack=1)  # fmt: skip
    else:
        y = 1.0 / (1.0 + tl.exp(-x))
    return y


@triton.jit
def divide(a, b):
    """a / b, rounded correctly (Triton's own / is off by up to 2 ulp in float32)."""
    if a.dtype == tl.float32:
        q = tl.div_rn(a, b)
    else:
        q = a / b
    return q


@triton.jit
def sqrt(x):
    """The square root, rounded correctly (Triton's own is approximate in float32)."""
    if x.dtype == tl.float32:
        y = tl.sqrt_rn(x)
    else:
        y = tl.sqrt(x)
    return y


@triton.jit
def round_even(x):
    """The nearest integer, ties to even."""
    if x.dtype == tl.float32:
        whole: tl.constexpr = 8388608.0
    else:
        whole: tl.constexpr = 4503599627370496.0
    size = tl.abs(x)
    return copysign(tl.where(size < whole, (size + whole) - whole, size), x)


@triton.jit
def trunc(x):
    return tl.where(x < 0, tl.ceil(x), tl.floor(x))


@triton.jit
def sign(x):
    return (tl.where(x > 0, 1.0, 0.0) - tl.where(x < 0, 1.0, 0.0)).to(x.dtype)


@triton.jit
def copysign(x, y):
    """|x| with the sign of y, be it that of a zero."""
    if y.dtype == tl.float32:
        negative = y.to(tl.int32, bitcast=True) < 0
    else:
        negative = y.to(tl.int64, bitcast=True) < 0
    return tl.where(negative, -tl.abs(x), tl.abs(x))


@triton.jit
def minimum(a, b):
    """The smaller, NaN where either is."""
    return tl.where((a != a) | (a < b), a, b)


@triton.jit
def maximum(a, b):
    """The larger, NaN where either is."""
    return tl.where((a != a) | (a > b), a, b)


@triton.jit
def fmin(a, b):
    """The smaller, the other where one is NaN."""
    return tl.where((b != b) | (a < b), a, b)


@triton.jit
def fmax(a, b):
    """The larger, the other where one is NaN."""
    return tl.where((b != b) | (a > b), a, b)


@triton.jit
def fmod(a, b):
    """a - b*trunc(a/b), exact where the quotient is below 2**23 (float64: 2**52)."""
    size, step = tl.abs(a), tl.abs(b)
    rest = tl.fma(-tl.floor(divide(size, step)), step, size)
    rest = tl.where(rest < 0, rest + step, rest)
    rest = tl.where(rest >= step, rest - step, rest)
    return copysign(tl.where((step == float("inf")) & (size < step), size, rest), a)


@triton.jit
def exp(x):
    """2**floor(x/ln2) * exp(the rest): Triton's own loses a bit with each doubling of |x| in float32."""
    if x.dtype == tl.float32:
        c = tl.where(x > 89.0, 89.0, tl.where(x < -104.0, -104.0, x))
        n = tl.floor(c * 1.4426950408889634)
        rest = (c - n * 0.693359375) - n * -2.12194440e-4
        y = tl.exp2(rest * 1.4426950408889634) * tl.exp2(n)
    else:
        y = tl.exp(x)
    return y


@triton.jit
def expm1(x):
    """(u - 1)*x/log(u) with u = exp(x). Source: Kahan."""
    u = exp(x)
    small = divide((u - 1.0) * x, tl.log(u))
    return tl.where(u == 1.0, x, tl.where(tl.abs(x) < 1.0, small, u - 1.0))


@triton.jit
def log1p(x):
    """log(u)*x/(u - 1) with u = 1 + x. Source: Kahan."""
    u = 1.0 + x
    y = tl.log(u) * divide(x, u - 1.0)
    return tl.where(u == 1.0, x, tl.where(u == float("inf"), u, y))


@triton.jit
def log10(x):
    return tl.log2(x) * 0.3010299956639812


@triton.jit
def sinh(x):
    a = tl.abs(x)
    t, half = expm1(a), exp(0.5 * a)
    return copysign(tl.where(a < 20.0, 0.5 * (t + divide(t, t + 1.0)), 0.5 * half * half), x)


@triton.jit
def cosh(x):
    a = tl.abs(x)
    u, half = exp(a), exp(0.5 * a)
    return tl.where(a < 20.0, 0.5 * u + divide(tl.full(x.shape, 0.5, x.dtype), u), 0.5 * half * half)


@triton.jit
def tanh(x):
    a = tl.abs(x)
    t = expm1(-2.0 * tl.where(a > 40.0, 40.0, a))
    return copysign(divide(-t, t + 2.0), x)


@triton.jit
def asinh(x):
    a = tl.abs(x)
    c = tl.where(a < 1e9, a, 1.0)
    small = log1p(c + divide(c * c, 1.0 + sqrt(c * c + 1.0)))
    return copysign(tl.where(a < 1e9, small, tl.log(a) + 0.6931471805599453), x)


@triton.jit
def acosh(x):
    t = tl.where(x < 1e9, x - 1.0, 0.0)
    return tl.where(x < 1e9, log1p(t + sqrt(2.0 * t + t * t)), tl.log(x) + 0.6931471805599453)


@triton.jit
def atanh(x):
    a = tl.abs(x)
    return copysign(0.5 * log1p(divide(2.0 * a, 1.0 - a)), x)


@triton.jit
def horner(x, coefficients: tl.constexpr):
    """The polynomial, highest power first."""
    y = x * 0.0 + coefficients[0]
    for j in tl.static_range(1, len(coefficients)):
        y = y * x + coefficients[j]
    return y


@at_compile_time
def atan_coefficients(float32):
    """(atan(t)/t - 1)/t**2 in t**2 up to tan(pi/8)"""
    if float32:
        return (8.05374449538e-2, -1.38776856032e-1, 1.99777106478e-1, -3.33329491539e-1)
    return (
        -0.01917688711906226, 0.03923165829558719, -0.0508544973794026, 0.0585814891280221, -0.06664511447381948,
        0.07692183190826087, -0.09090904578123903, 0.11111111015256361, -0.14285714284666542, 0.1999999999999552,
        -0.3333333333333333,
    )  # fmt: skip


@triton.jit
def atan(x):
    a = tl.abs(x)
    big, middle = a > 2.414213562373095, a > 0.41421356237309503
    one = tl.full(x.shape, 1.0, x.dtype)
    t = tl.where(big, divide(-one, a), tl.where(middle, divide(a - 1.0, a + 1.0), a))
    base = tl.where(big, 1.5707963267948966 * one, tl.where(middle, 0.7853981633974483 * one, 0.0))
    z = t * t
    p = horner(z, atan_coefficients(x.dtype == tl.float32))
    return copysign(base + (p * z * t + t), x)


@triton.jit
def atan2(y, x):
    half_turn = tl.full(x.shape, 3.141592653589793, x.dtype)
    steep = tl.abs(y) > tl.abs(x)
    top, bottom = tl.where(steep, tl.abs(x), tl.abs(y)), tl.where(steep, tl.abs(y), tl.abs(x))
    ratio = tl.where(bottom == 0, 0.0, tl.where(top == bottom, 1.0, divide(top, tl.where(bottom == 0, 1.0, bottom))))
    angle = atan(tl.where((x != x) | (y != y), x + y, ratio))
    angle = tl.where(steep, 0.5 * half_turn - angle, angle)
    return copysign(tl.where(copysign(half_turn, x) < 0, half_turn - angle, angle), y)


@triton.jit
def asin(x):
    return atan(divide(x, sqrt((1.0 - x) * (1.0 + x))))


@triton.jit
def acos(x):
    return 2.0 * atan(sqrt(divide(1.0 - x, 1.0 + x)))


@triton.jit
def hypot(a, b):
    a, b = tl.abs(a), tl.abs(b)
    large, small = tl.where(a > b, a, b), tl.where(a > b, b, a)
    ratio = divide(small, tl.where(large == 0, 1.0, large))
    y = large * sqrt(1.0 + ratio * ratio)
    return tl.where((a == float("inf")) | (b == float("inf")), float("inf"), tl.where((a != a) | (b != b), a + b, y))


@at_compile_time
def erfc_coefficients(float32):
    """(1 + 2a)*exp(a**2)*erfc(a) - 1 in (a - 2)/(a + 2)"""
    if float32:
        return (
            8.10246e-5, 1.7313572e-4, -3.996994e-4, -1.4239869e-3, 1.2507421e-3, 8.709923e-3, -8.030158e-3,
            -5.421789e-2, 1.6405095e-1, -1.6603053e-1, -9.276382e-2, 2.7697837e-1,
        )  # fmt: skip
    return (
        -6.503445148640335e-09, -2.2108014666223286e-08, 7.957413650977013e-09, 1.3049935099250176e-07,
        1.598067749059726e-07, -2.1544485120192066e-07, -8.494287098346991e-07, -7.374277202028196e-07,
        1.5100132713999034e-06, 5.247687770582924e-06, 3.7091000248174404e-06, -1.3501769305950557e-05,
        -3.6423024355532965e-05, -1.507662596312178e-06, 0.00015103911227044557, 0.00020636686410954215,
        -0.00045434081760378005, -0.0014568139127076128, 0.0012713389640078756, 0.008722653873773713,
        -0.008034015082276053, -0.05422000099198381, 0.1640512800334371, -0.1660303976152899,
        -0.09276382658574596, 0.27697838155252874,
    )  # fmt: skip


@triton.jit
def erfc(x):
    a = tl.minimum(tl.abs(x), 27.3)
    one = tl.full(x.shape, 1.0, x.dtype)
    d = divide(one, a + 2.0)
    q = 1.0 - 4.0 * d
    q = tl.fma(d, tl.fma(-a, q, (a - 2.0 * q) - 2.0), q)
    p = horner(q, erfc_coefficients(x.dtype == tl.float32))
    square = a * a
    e, ratio = exp(-square), divide(p + 1.0, 1.0 + 2.0 * a)
    y = e * ratio - tl.fma(a, a, -square) * e * ratio
    return tl.where(x < 0, 2.0 - y, tl.where(x != x, x, y))


@triton.jit
def tan(x):
    return divide(tl.sin(x), tl.cos(x))


@triton.jit
def pow(x, y):
    """exp(y*log|x|), computed in float64, and the signs and limits of IEEE 754."""
    size = tl.abs(x)
    odd = (y == tl.floor(y)) & ((0.5 * y) != tl.floor(0.5 * y))
    power = tl.exp(y.to(tl.float64) * tl.log(size.to(tl.float64))).to(x.dtype)
    power = tl.where((y == 0) | (size == 1), 1.0, power)
    power = tl.where(odd, copysign(power, x), power)
    power = tl.where((x < 0) & (size < float("inf")) & (y != tl.floor(y)), float("nan"), power)
    return tl.where((x == 1) | (y == 0), 1.0, tl.where((x != x) | (y != y), x + y, power))


@triton.jit
def uniform(rng, draw: tl.constexpr, like):
    """The draw numbered `draw` of this step, in [0, 1): Philox4x32-10 keyed by the seed."""
    seed, position, low, high = rng
    zero = low * 0
    word, _b, _c, _d = tl.philox(seed, low, zero + position.to(tl.uint32), zero + draw, high)
    return tl.uint_to_uniform_float(word).to(like.dtype)
