// Products of blocks in one order of sums: a tile of rows and columns, and one row over all columns of a group.
#pragma once
#include <algorithm>
#include <cstring>
#include "matrix/matrix.h"
#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
#endif

namespace tt {

typedef int64_t L;
#define INLINE inline __attribute__((always_inline))

#if defined(__AVX512F__) && defined(__AVX512DQ__) && !defined(TT_AVX2)
constexpr L BYTES = 64, SUMS = 24, WIDE = 16;      // SUMS, WIDE: registers that hold sums in a tile, in a row
#elif defined(__AVX2__) && defined(__FMA__)
constexpr L BYTES = 32, SUMS = 12, WIDE = 8;
#else
constexpr L BYTES = 0, SUMS = 0, WIDE = 0;
#endif
constexpr L SIZE = BYTES ? BYTES : 16;
constexpr L PANEL = 256;                            // bytes of a row of a panel: four cache lines

template <class T> struct Vector {
  typedef T type __attribute__((vector_size(SIZE)));
  typedef T loose __attribute__((vector_size(SIZE), aligned(sizeof(T)), may_alias));
};
template <class T> using vec = typename Vector<T>::type;
template <class T> using loose = typename Vector<T>::loose;
template <class T> constexpr L LANES = SIZE / (L)sizeof(T);
template <class T> constexpr L COLUMNS = PANEL / (L)sizeof(T);

#if defined(__AVX2__) && defined(__FMA__)
#if defined(__AVX512F__)
INLINE __m512 fused(__m512 a, __m512 b, __m512 c) { return _mm512_fmadd_ps(a, b, c); }
INLINE __m512d fused(__m512d a, __m512d b, __m512d c) { return _mm512_fmadd_pd(a, b, c); }
#endif
INLINE __m256 fused(__m256 a, __m256 b, __m256 c) { return _mm256_fmadd_ps(a, b, c); }
INLINE __m256d fused(__m256d a, __m256d b, __m256d c) { return _mm256_fmadd_pd(a, b, c); }
#else
template <class V> INLINE V fused(V a, V b, V c) { return a * b + c; }     // never called: lanes is 0
#endif

// [K, N] where panel p has the columns from p * COLUMNS on: row k of it lies at at + p * panel + k * row
template <class T> struct View {
  const T* at;
  L row, panel;       // row 0: packed, each panel as wide as its columns need
};

template <class T> INLINE L padded(L n) { return (n + LANES<T> - 1) / LANES<T> * LANES<T>; }

// The first row of the columns from n on, and how far apart rows lie there.
template <class T> INLINE View<T> columns_from(const View<T>& v, L n, L K, L N) {
  if (v.row) return {v.at + n / COLUMNS<T> * v.panel, v.row, v.panel};
  const L width = std::min(COLUMNS<T>, padded<T>(N) - n);
  return {v.at + n * K, width, COLUMNS<T> * K};
}

// The first n numbers of a vector, n below its lanes. Not inlined: it stands at every sum of every kernel.
template <class T> static __attribute__((noinline)) vec<T> begin_part(const T* from, L n) {
  vec<T> v{};
  std::memcpy(&v, from, (size_t)n * sizeof(T));
  return v;
}
template <class T> static __attribute__((noinline)) void finish_part(vec<T> sum, const T* add, T* to, L n) {
  if (add) sum = begin_part(add, n) + sum;
  std::memcpy(to, &sum, (size_t)n * sizeof(T));
}

template <class T> INLINE vec<T> begin(const T* from, L n) {
  return n >= LANES<T> ? *(const loose<T>*)from : begin_part(from, n);
}

template <class T> INLINE void finish(vec<T> sum, const T* add, T* to, L n) {
  sum += T(0);                                      // -0 to +0: a skipped zero can't show in the sign
  if (n < LANES<T>) return finish_part(sum, add, to, n);
  if (add) sum = *(const loose<T>*)add + sum;
  *(loose<T>*)to = sum;
}

// MR rows times V vectors; b is the first of its columns, of which `columns` exist.
template <class T, int MR, int V>
INLINE void tile(const T* a, L a_row, L a_k, L K, const T* b, L b_row, const Rows<T>& r, L columns) {
  vec<T> sum[MR][V];
#pragma GCC unroll 16
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 16
    for (int v = 0; v < V; v++)
      sum[i][v] = r.start && columns > v * LANES<T>
        ? begin(r.start + i * r.start_row + v * LANES<T>, columns - v * LANES<T>) : vec<T>{};
  for (L k = 0; k < K; k++, b += b_row, a += a_k) {
    vec<T> row[V];
#pragma GCC unroll 16
    for (int v = 0; v < V; v++) row[v] = *(const loose<T>*)(b + v * LANES<T>);
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++) {
      const vec<T> s = a[i * a_row] - vec<T>{};
#pragma GCC unroll 16
      for (int v = 0; v < V; v++) sum[i][v] = fused(s, row[v], sum[i][v]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 16
    for (int v = 0; v < V; v++)
      if (columns > v * LANES<T>)
        finish(sum[i][v], r.add ? r.add + i * r.add_row + v * LANES<T> : nullptr, r.to + i * r.to_row + v * LANES<T>,
               columns - v * LANES<T>);
}

template <class T> INLINE Rows<T> moved(const Rows<T>& r, L row, L column) {
  return {r.start ? r.start + row * r.start_row + column : nullptr, r.start_row,
          r.add ? r.add + row * r.add_row + column : nullptr, r.add_row, r.to + row * r.to_row + column, r.to_row};
}

template <class T, int V>
static void tiles(const T* a, L a_row, L a_k, L rows, L K, const T* b, L b_row, const Rows<T>& r, L columns) {
  L i = 0;
#define TILES(MR) \
  if constexpr (MR * V <= SUMS || MR == 1) \
    for (; i + MR <= rows; i += MR) tile<T, MR, V>(a + i * a_row, a_row, a_k, K, b, b_row, moved(r, i, 0), columns);
  TILES(12) TILES(6) TILES(4) TILES(2) TILES(1)
#undef TILES
}

// All rows times all columns; `a` is a_row from row to row, a_k from k to k. Sums that are put down and taken up again
// between blocks of k are the same sums.
template <class T>
static void dense(const T* a, L a_row, L a_k, L rows, const View<T>& w, L K, L N, const Rows<T>& r) {
  const L blocks = std::max<L>(1, (K + 1023) / 1024), step = (K + blocks - 1) / blocks;
  for (L n = 0; n < N; n += COLUMNS<T>) {
    const View<T> b = columns_from(w, n, K, N);
    const L width = (std::min(COLUMNS<T>, N - n) + LANES<T> - 1) / LANES<T>;
    for (L k = 0; k < blocks; k++) {
      Rows<T> q = moved(r, 0, n);
      if (k) q.start = q.to, q.start_row = q.to_row;
      if (k + 1 < blocks) q.add = nullptr;
      const L size = std::min(step, K - k * step);
      constexpr L most = SUMS / 6 ? SUMS / 6 : 1;     // vectors of a tile of six rows
      for (L v = 0; v < width; v += most) {
        const T *aa = a + k * step * a_k, *bb = b.at + k * step * b.row + v * LANES<T>;
        const Rows<T> s = moved(q, 0, v * LANES<T>);
        const L columns = N - n - v * LANES<T>;
        switch (std::min(most, width - v)) {
          case 1: tiles<T, 1>(aa, a_row, a_k, rows, size, bb, b.row, s, columns); break;
          case 2: tiles<T, 2>(aa, a_row, a_k, rows, size, bb, b.row, s, columns); break;
          case 3: if constexpr (most > 2) tiles<T, 3>(aa, a_row, a_k, rows, size, bb, b.row, s, columns); break;
          case 4: if constexpr (most > 2) tiles<T, 4>(aa, a_row, a_k, rows, size, bb, b.row, s, columns); break;
        }
      }
    }
  }
}

// One row times V vectors of columns, from its list, or from all of its `count` elements.
template <class T, int V, bool LISTED>
INLINE void row(const int32_t* places, const T* values, L count, const View<T>& b, const Rows<T>& r, L columns) {
  constexpr int PER = PANEL / SIZE;
  vec<T> sum[V];
#pragma GCC unroll 16
  for (int v = 0; v < V; v++)
    sum[v] = r.start && columns > v * LANES<T> ? begin(r.start + v * LANES<T>, columns - v * LANES<T>) : vec<T>{};
  for (L i = 0; i < count; i++) {
    const T* at = b.at + (LISTED ? (L)places[i] : i) * b.row;
    const vec<T> s = values[i] - vec<T>{};
#pragma GCC unroll 16
    for (int v = 0; v < V; v++)
      sum[v] = fused(s, (vec<T>)*(const loose<T>*)(at + v / PER * b.panel + v % PER * LANES<T>), sum[v]);
  }
#pragma GCC unroll 16
  for (int v = 0; v < V; v++)
    if (columns > v * LANES<T>)
      finish(sum[v], r.add ? r.add + v * LANES<T> : nullptr, r.to + v * LANES<T>, columns - v * LANES<T>);
}

template <class T, bool LISTED, int V>
static void rows_of(const int32_t* ends, const int32_t* places, const T* values, L rows, L count, const View<T>& b,
                    const Rows<T>& r, L columns) {
  for (L i = 0; i < rows; i++) {
    const L from = LISTED ? ends[i] : 0;
    row<T, V, LISTED>(places + from, values + from, LISTED ? ends[i + 1] - from : count, b, moved(r, i, 0), columns);
  }
}

// Rows times all columns, as many columns at once as registers hold: from lists, or one row with all its elements.
template <class T, bool LISTED>
static void wide(const int32_t* ends, const int32_t* places, const T* values, L rows, const View<T>& w, L K, L N,
                 const Rows<T>& r) {
  constexpr L PER = COLUMNS<T> / LANES<T>;
  for (L n = 0; n < N;) {
    const View<T> b = columns_from(w, n / COLUMNS<T> * COLUMNS<T>, K, N);
    const View<T> at{b.at + n % COLUMNS<T>, b.row, b.panel};
    const L left = (N - n + LANES<T> - 1) / LANES<T>;
    // whole panels, or a part of one: the last panel of a packed matrix has a width of its own
    const L whole = w.row ? left : (N - n) / COLUMNS<T> * PER;
    const L most = whole >= PER && n % COLUMNS<T> == 0 ? whole : std::min(left, PER - n % COLUMNS<T> / LANES<T>);
    L taken = 0;
#define WIDTH(V) \
    if constexpr (V <= WIDE) \
      if (!taken && V <= most) { \
        rows_of<T, LISTED, V>(ends, places, values, rows, K, at, moved(r, 0, n), N - n); \
        taken = V; \
      }
    WIDTH(16) WIDTH(8) WIDTH(4) WIDTH(2) WIDTH(1)
#undef WIDTH
    n += taken * LANES<T>;
  }
}

}  // namespace tt
