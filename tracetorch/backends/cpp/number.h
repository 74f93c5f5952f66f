// Numbers in memory: bfloat16 and float16 as float, and the random numbers of `tracetorch.functional.random`.
#pragma once
#include "math.h"

namespace tt {

struct bfloat16 { uint16_t bits; };
struct float16 { uint16_t bits; };

template <class T> INLINE T load(float v) { return (T)v; }
template <class T> INLINE T load(double v) { return (T)v; }
template <class T> INLINE T load(bfloat16 v) { return (T)from_bits((int32_t)((uint32_t)v.bits << 16)); }
template <class T> INLINE T load(float16 v) {
  const uint32_t rest = v.bits & 0x7fffu;
  const float scaled = from_bits((int32_t)(rest << 13)) * 5.192296858534828e33f;       // 2**112: denormals too
  const uint32_t magnitude = rest >= 0x7c00u ? (rest << 13) | 0x7f800000u : (uint32_t)to_bits(scaled);
  return (T)from_bits((int32_t)(magnitude | (uint32_t)(v.bits & 0x8000u) << 16));
}

// Round to nearest, ties to even.
INLINE void store(float& to, float v) { to = v; }
INLINE void store(float& to, double v) { to = (float)v; }
INLINE void store(double& to, double v) { to = v; }
INLINE void store(double& to, float v) { to = v; }
INLINE void store(bfloat16& to, float v) {
  const uint32_t bits = (uint32_t)to_bits(v);
  to.bits = (uint16_t)(v != v ? 0x7fc0u : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}
INLINE void store(float16& to, float v) {
  const uint32_t bits = (uint32_t)to_bits(v), rest = bits & 0x7fffffffu;
  const uint32_t normal = (rest + 0xc8000fffu + (rest >> 13 & 1u)) >> 13;              // exponent less 112
  const uint32_t tiny = (uint32_t)to_bits(from_bits((int32_t)rest) + 0.5f) - 0x3f000000u;
  uint32_t half = rest < 0x38800000u ? tiny : normal;
  half = rest >= 0x477ff000u ? 0x7c00u : half;
  half = rest > 0x7f800000u ? 0x7e00u : half;
  to.bits = (uint16_t)(half | (bits >> 16 & 0x8000u));
}
INLINE void store(bfloat16& to, double v) { store(to, (float)v); }
INLINE void store(float16& to, double v) { store(to, (float)v); }

// The stream of one scan: key, and the position of the current step.
struct Draw { uint32_t key0, key1, position; };

// Philox4x32-10, first word, as a number in [0, 1).
template <class T> INLINE T uniform(const Draw& draw, uint64_t index, uint32_t number) {
  uint32_t k0 = draw.key0, k1 = draw.key1;
  uint32_t c0 = (uint32_t)index, c1 = draw.position, c2 = number, c3 = (uint32_t)(index >> 32);
  for (int i = 0; i < 10; i++) {
    const uint64_t a = (uint64_t)c0 * 0xD2511F53u, b = (uint64_t)c2 * 0xCD9E8D57u;
    c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
    c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
    c1 = (uint32_t)b;
    c3 = (uint32_t)a;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  const int32_t word = (int32_t)c0;
  return (T)((float)(word < 0 ? -word - 1 : word) * 4.6566127342e-10f);
}

}  // namespace tt
