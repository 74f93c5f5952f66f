// Which elements are not zero: counted, and listed by row or by column.
#pragma once
#include "matrix/kernels.h"

namespace tt {

#if defined(__AVX512F__) && defined(__AVX512DQ__) && !defined(TT_AVX2)
INLINE __mmask16 first(L n) { return n >= 16 ? 0xffff : (__mmask16)((1u << n) - 1); }
INLINE __mmask16 marked(__m512 v) { return _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_NEQ_UQ); }

static L nonzeros(const float* a, L n) {
  L count = 0;
  for (L k = 0; k < n; k += 16) count += __builtin_popcount(marked(_mm512_maskz_loadu_ps(first(n - k), a + k)));
  return count;
}

// Compressed in a register and stored under a mask: compressing into memory is microcode on Zen 4.
static L list(const float* a, L n, int32_t* places, float* values) {
  const __m512i ascending = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  L count = 0;
  for (L k = 0; k < n; k += 16) {
    const __m512 v = _mm512_maskz_loadu_ps(first(n - k), a + k);
    const __mmask16 mark = marked(v);
    if (!mark) continue;
    const int found = __builtin_popcount(mark);
    const __m512i at = _mm512_add_epi32(ascending, _mm512_set1_epi32((int)k));
    _mm512_mask_storeu_epi32(places + count, first(found), _mm512_maskz_compress_epi32(mark, at));
    _mm512_mask_storeu_ps(values + count, first(found), _mm512_maskz_compress_ps(mark, v));
    count += found;
  }
  return count;
}
#elif defined(__AVX2__) && defined(__FMA__)
INLINE unsigned marked(const float* a) {
  return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(a), _mm256_setzero_ps(), _CMP_NEQ_UQ));
}

static L nonzeros(const float* a, L n) {
  L count = 0, k = 0;
  for (; k + 8 <= n; k += 8) count += __builtin_popcount(marked(a + k));
  for (; k < n; k++) count += a[k] != 0;
  return count;
}

static L list(const float* a, L n, int32_t* places, float* values) {
  L count = 0, k = 0;
  for (; k + 8 <= n; k += 8)
    for (unsigned mark = marked(a + k); mark; mark &= mark - 1) {
      const L at = k + __builtin_ctz(mark);
      places[count] = (int32_t)at;
      values[count++] = a[at];
    }
  for (; k < n; k++)
    if (a[k] != 0) places[count] = (int32_t)k, values[count++] = a[k];
  return count;
}
#endif

template <class T> static L nonzeros(const T* a, L n) {
  L count = 0;
  for (L k = 0; k < n; k++) count += a[k] != T(0);
  return count;
}

template <class T> static L list(const T* a, L n, int32_t* places, T* values) {
  L count = 0;
  for (L k = 0; k < n; k++)
    if (a[k] != T(0)) places[count] = (int32_t)k, values[count++] = a[k];
  return count;
}

// The lists of the columns of rows [from, to), from those of the rows: a counting sort. Places count from `from`.
static void by_columns(const int32_t* ends, const int32_t* places, const float* values, L from, L to, L K,
                       int32_t* column_ends, int32_t* rows, float* column_values) {
  std::memset(column_ends, 0, sizeof(int32_t) * (size_t)(K + 1));
  for (L p = ends[from]; p < ends[to]; p++) column_ends[places[p]]++;
  int32_t next = ends[from];
  for (L k = 0; k <= K; k++) {
    const int32_t here = k < K ? column_ends[k] : 0;
    column_ends[k] = next;
    next += here;
  }
  for (L m = from; m < to; m++)
    for (L p = ends[m]; p < ends[m + 1]; p++) {
      const int32_t at = column_ends[places[p]]++;
      rows[at] = (int32_t)(m - from);
      column_values[at] = values[p];
    }
  for (L k = K; k > 0; k--) column_ends[k] = column_ends[k - 1];      // each had moved on to the next one's start
  column_ends[0] = ends[from];
}

}  // namespace tt
