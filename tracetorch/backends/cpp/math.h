// Elementary functions that vectorise: at most 4 ulp in float32, NaN, inf, denormals and signed zeros as in torch.
// The polynomials are minimax fits on the ranges given beside them. float64 goes to the C library.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#define INLINE static inline __attribute__((always_inline))

namespace tt {

INLINE float from_bits(int32_t bits) { float f; std::memcpy(&f, &bits, 4); return f; }
INLINE int32_t to_bits(float f) { int32_t bits; std::memcpy(&bits, &f, 4); return bits; }

#ifdef __FMA__
INLINE float fma(float a, float b, float c) { return std::fma(a, b, c); }
#else
INLINE float fma(float a, float b, float c) { return (float)((double)a * b + c); }
#endif

constexpr float LOG2E = 1.44269504f, LN2_HIGH = 0.693359375f, LN2_LOW = -2.12194440e-4f;
constexpr float ROUNDER = 12582912.0f;      // adding 1.5 * 2**23 rounds to an integer, held in the low bits
constexpr int32_t ROUNDER_BITS = 0x4B400000;

// exp(x) = 2**n * (1 + part): n is in the low bits of `shifted`, part = exp(r) - 1 with |r| <= log(2) / 2
struct Reduced { float shifted, part; };
INLINE Reduced reduce(float x) {
  const float shifted = fma(x, LOG2E, ROUNDER), n = shifted - ROUNDER;
  const float r = fma(n, -LN2_LOW, fma(n, -LN2_HIGH, x));
  float p = fma(1.3950508e-3f, r, 8.368899e-3f);
  p = fma(p, r, 4.1666206e-2f);
  p = fma(p, r, 1.6666518e-1f);
  p = fma(p, r, 0.5f);
  return {shifted, fma(p, r * r, r)};
}
INLINE float power_of_2(int32_t n) { return from_bits((int32_t)((uint32_t)(n + 127) << 23)); }

INLINE float exp(float x) {
  float c = x > 88.8f ? 88.8f : x;
  c = c < -104.0f ? -104.0f : c;
  const Reduced e = reduce(c);
  const int32_t n = to_bits(e.shifted) - ROUNDER_BITS, half = n >> 1;
  return (e.part + 1.0f) * power_of_2(half) * power_of_2(n - half);      // two factors: inf and denormals come out right
}

// exp(x) for x <= 0: one factor that carries n and another that is fixed
INLINE float exp_negative(float x) {
  const Reduced e = reduce(x < -104.0f ? -104.0f : x);
  const float scale = from_bits((int32_t)(((uint32_t)to_bits(e.shifted) + 191u) << 23));
  return (e.part + 1.0f) * scale * 5.421010862e-20f;                     // 2**(n + 64) * 2**-64
}

// Both sides of the division are 2**64 times what they stand for, so that exp(-|x|) needs no second factor.
INLINE float sigmoid(float x) {
  const float a = from_bits(to_bits(x) | INT32_MIN), one = 18446744073709551616.0f;
  const Reduced e = reduce(-104.0f > a ? -104.0f : a);
  const float scale = from_bits((int32_t)(((uint32_t)to_bits(e.shifted) + 191u) << 23)), r = fma(e.part, scale, scale);
  return (x < 0.0f ? r : one) / (one + r);
}

INLINE float tanh(float x) {
  const float a = std::fabs(x), e = exp_negative(-2.0f * a), z = x * x;
  float p = fma(-5.70498872745e-3f, z, 2.06390887954e-2f);               // |x| < 0.625
  p = fma(p, z, -5.37397155531e-2f);
  p = fma(p, z, 1.33314422036e-1f);
  p = fma(p, z, -3.33332819422e-1f);
  const float r = a < 0.625f ? fma(p * z, a, a) : (1.0f - e) / (1.0f + e);
  return std::copysign(r, x);
}

INLINE float expm1(float x) {
  float c = x > 88.8f ? 88.8f : x;
  c = c < -20.0f ? -20.0f : c;
  const Reduced e = reduce(c);
  const float s = power_of_2(to_bits(e.shifted) - ROUNDER_BITS - 1);
  const float r = 2.0f * fma(s, e.part, s - 0.5f);
  return std::fabs(x) < 1e-30f ? x : r;
}

INLINE float log(float x) {
  const bool tiny = x < 1.17549435e-38f;
  const float y = tiny ? x * 8388608.0f : x;
  const int32_t bits = to_bits(y);
  float m = from_bits((bits & 0x007fffff) | 0x3f000000);                 // [0.5, 1)
  const bool low = m < 0.70710678f;
  const float e = (float)(((bits >> 23) & 0xff) - 126 - (tiny ? 23 : 0) - (low ? 1 : 0));
  m = low ? m + m - 1.0f : m - 1.0f;
  const float z = m * m;
  float p = fma(7.0376836292e-2f, m, -1.1514610310e-1f);
  p = fma(p, m, 1.1676998740e-1f);
  p = fma(p, m, -1.2420140846e-1f);
  p = fma(p, m, 1.4249322787e-1f);
  p = fma(p, m, -1.6668057665e-1f);
  p = fma(p, m, 2.0000714765e-1f);
  p = fma(p, m, -2.4999993993e-1f);
  p = fma(p, m, 3.3333331174e-1f);
  float r = fma(e, LN2_LOW, p * m * z) - 0.5f * z;
  r = fma(e, LN2_HIGH, m + r);
  r = x == 0.0f ? -INFINITY : r;
  r = x < 0.0f ? NAN : r;
  return x == INFINITY || x != x ? x : r;
}

INLINE float log1p(float x) {
  const float u = 1.0f + x, d = u - 1.0f;
  const float r = log(u) * (x / d);                                      // what rounding took from u comes back in x / d
  return d == 0.0f || u == INFINITY ? x : r;
}

INLINE float atan(float x) {
  const float a = std::fabs(x);
  const bool big = a > 2.4142136f, middle = a > 0.41421356f;
  const float base = big ? 1.5707963268f : middle ? 0.7853981634f : 0.0f;
  const float t = big ? -1.0f / a : middle ? (a - 1.0f) / (a + 1.0f) : a, z = t * t;
  float p = fma(8.05374449538e-2f, z, -1.38776856032e-1f);
  p = fma(p, z, 1.99777106478e-1f);
  p = fma(p, z, -3.33329491539e-1f);
  return std::copysign(base + fma(p * z, t, t), x);
}

INLINE float erf(float x) {
  const float a = std::fabs(x), s = x * x;
  float p = fma(8.327488e-5f, s, -8.1332156e-4f);                        // erf(x) / x - 1 in x**2, |x| < 0.93
  p = fma(p, s, 5.200261e-3f);
  p = fma(p, s, -2.685912e-2f);
  p = fma(p, s, 1.1283691e-1f);
  p = fma(p, s, -3.7612635e-1f);
  p = fma(p, s, 1.2837917e-1f);
  const float t = a > 4.0f ? 4.0f : a;
  float q = fma(-2.1095018e-5f, t, 4.344623e-4f);                        // log(1 - erf(t)), 0.92 < t < 4
  q = fma(q, t, -4.171062e-3f);
  q = fma(q, t, 2.5119424e-2f);
  q = fma(q, t, -1.08280085e-1f);
  q = fma(q, t, -6.333469e-1f);
  q = fma(q, t, -1.1295149f);
  q = fma(q, t, 1.7468416e-4f);
  const float big = std::copysign(1.0f - exp_negative(q), x);
  return a < 0.93f ? fma(p, x, x) : a != a ? x : big;
}

INLINE float erfc(float x) {
  const float a0 = std::fabs(x), a = a0 > 10.1f ? 10.1f : a0;
  const float d = 1.0f / (a + 2.0f);
  float q = fma(-4.0f, d, 1.0f);                                         // (a - 2) / (a + 2), refined
  q = fma(d, fma(-a, q, fma(q + 1.0f, -2.0f, a)), q);
  float p = fma(8.10246e-5f, q, 1.7313572e-4f);                          // (1 + 2a) * exp(a**2) * erfc(a) - 1
  p = fma(p, q, -3.996994e-4f);
  p = fma(p, q, -1.4239869e-3f);
  p = fma(p, q, 1.2507421e-3f);
  p = fma(p, q, 8.709923e-3f);
  p = fma(p, q, -8.030158e-3f);
  p = fma(p, q, -5.421789e-2f);
  p = fma(p, q, 1.6405095e-1f);
  p = fma(p, q, -1.6603053e-1f);
  p = fma(p, q, -9.276382e-2f);
  p = fma(p, q, 2.7697837e-1f);
  const float square = a * a, rest = fma(a, a, -square);                 // a**2 in two floats
  const float e = exp_negative(-square);
  const float ratio = (p + 1.0f) / fma(2.0f, a, 1.0f);
  const float r = fma(-rest * e, ratio, e * ratio);
  return x < 0.0f ? 2.0f - r : a0 != a0 ? x : r;
}

INLINE double exp(double x) { return std::exp(x); }
INLINE double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }
INLINE double tanh(double x) { return std::tanh(x); }
INLINE double expm1(double x) { return std::expm1(x); }
INLINE double log(double x) { return std::log(x); }
INLINE double log1p(double x) { return std::log1p(x); }
INLINE double atan(double x) { return std::atan(x); }
INLINE double erf(double x) { return std::erf(x); }
INLINE double erfc(double x) { return std::erfc(x); }

template <class T> INLINE T minimum(T a, T b) { return a != a || a < b ? a : b; }      // NaN where either is
template <class T> INLINE T maximum(T a, T b) { return a != a || a > b ? a : b; }
template <class T> INLINE T sign(T x) { return (T)(x > T(0)) - (T)(x < T(0)); }

}  // namespace tt
