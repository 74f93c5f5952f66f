// The matrix library: products whose bits depend on nothing but their numbers, over all elements or over the non-zeros.
// Built once, and called by address: the functions of `Matrix` by one thread each, the others with threads of their own.
#include "matrix/lists.h"

namespace tt {

template <class T> INLINE bool finite(T v) { return v - v == T(0); }

template <class T>
static L pack(const T* w, L w_k, L w_n, L K, L N, T* packed, L threads) {
  const View<T> to{packed, 0, 0};
  const L blocks = (padded<T>(N) + 15) / 16;
  bool good = true;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1 && K * N > 32768) reduction(&& : good)
  for (L block = 0; block < blocks; block++) {
    const L n0 = block * 16, n1 = std::min(n0 + 16, padded<T>(N));
    const View<T> b = columns_from(to, n0 / COLUMNS<T> * COLUMNS<T>, K, N);
    T* column = (T*)b.at + n0 % COLUMNS<T>;
    T wrong = 0;
    for (L k0 = 0; k0 < K; k0 += 16) {              // 16 x 16 at a time: whole cache lines of both
      const L k1 = std::min(k0 + 16, K);
      if (n0 + 16 <= N && k0 + 16 <= K) {
        alignas(64) T square[16][16];
        for (L n = 0; n < 16; n++)
          for (L k = 0; k < 16; k++) square[k][n] = w[(k0 + k) * w_k + (n0 + n) * w_n];
        for (L k = 0; k < 16; k++)
          for (L n = 0; n < 16; n++) {
            wrong += square[k][n] - square[k][n];
            column[(k0 + k) * b.row + n] = square[k][n];
          }
      } else
        for (L k = k0; k < k1; k++)
          for (L n = n0; n < n1; n++) {
            const T v = n < N ? w[k * w_k + n * w_n] : T(0);
            wrong += v - v;
            column[k * b.row + n - n0] = v;
          }
    }
    good = good && wrong == T(0);
  }
  return good;
}

template <class T> static L packed_size(L K, L N) { return padded<T>(N) * K; }

template <class T>
static void product(const T* a, L a_row, L rows, const T* packed, L K, L N, const Rows<T>* r) {
  const View<T> w{packed, 0, 0};
  if (rows > 2) return dense(a, a_row, 1, rows, w, K, N, *r);
  for (L i = 0; i < rows; i++) wide<T, false>(nullptr, nullptr, a + i * a_row, 1, w, K, N, moved(*r, i, 0));
}

template <class T>
static void listed_rows(const int32_t* ends, const int32_t* places, const T* values, L rows, const T* packed, L K, L N,
                        const Rows<T>* r) {
  wide<T, true>(ends, places, values, rows, View<T>{packed, 0, 0}, K, N, *r);
}

template <class T>
static void skipping(const T* a, L a_row, L rows, const T* packed, L K, L N, const Rows<T>* r, int32_t* places,
                     T* values) {
  for (L i = 0; i < rows; i++) {
    const int32_t ends[2] = {0, (int32_t)list(a + i * a_row, K, places, values)};
    wide<T, true>(ends, places, values, 1, View<T>{packed, 0, 0}, K, N, moved(*r, i, 0));
  }
}

template <class T> static L counted(const T* a, L n) { return nonzeros(a, n); }

template <class T>
constexpr Matrix<T> table = {BYTES ? LANES<T> : 0, packed_size<T>, pack<T>, product<T>, skipping<T>, listed_rows<T>,
                             counted<T>};

}  // namespace tt

using namespace tt;

extern "C" {

const void* matrix_float() { return &table<float>; }
const void* matrix_double() { return &table<double>; }

int64_t matrix_lanes() { return table<float>.lanes; }
int64_t matrix_packed_size(L K, L N) { return packed_size<float>(K, N); }
int64_t matrix_pack(const float* w, L w_k, L w_n, L K, L N, float* packed, L threads) {
  return pack(w, w_k, w_n, K, N, packed, threads);
}

// Two sums over all bits of n numbers that change with any of them, and whether all numbers are finite (1) or not (0).
int64_t matrix_digest(const float* w, L n, uint64_t* sums) {
  typedef uint64_t four __attribute__((vector_size(32)));
  four a = {1, 2, 3, 4}, b = {5, 6, 7, 8}, c = {9, 10, 11, 12}, d = {13, 14, 15, 16};
  const four m = {0x9E3779B97F4A7C15u, 0xC2B2AE3D27D4EB4Fu, 0x165667B19E3779F9u, 0xD6E8FEB86659FD93u};
  L i = 0;
  for (; i + 32 <= n; i += 32) {
    four v[4];
    std::memcpy(v, w + i, sizeof v);
    a = (a ^ v[0]) * m, b = (b ^ v[1]) * m, c = (c ^ v[2]) * m, d = (d ^ v[3]) * m;
    a ^= a >> 32, b ^= b >> 32, c ^= c >> 32, d ^= d >> 32;
  }
  for (; i < n; i++) {
    uint32_t v;
    std::memcpy(&v, w + i, sizeof v);
    a[0] = (a[0] ^ v) * m[0], a[0] ^= a[0] >> 32;
  }
  uint64_t x = 0, y = 0;
  for (int j = 0; j < 4; j++)
    for (uint64_t v : {a[j], b[j], c[j], d[j]}) {
      x = (x ^ v) * m[0], x ^= x >> 29;
      y = (y ^ v) * m[1], y ^= y >> 31;
    }
  sums[0] = x, sums[1] = y;
  return 0;
}

// Non-zeros of every `every`-th row.
int64_t matrix_sample(const float* x, L M, L K, L every) {
  L count = 0;
  for (L m = 0; m < M; m += every) count += nonzeros(x + m * K, K);
  return count;
}

int64_t matrix_finite(const float* a, L n, L threads) {
  bool good = true;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1 && n > 65536) reduction(&& : good)
  for (L i = 0; i < n; i += 4096) {
    float wrong = 0;
    for (L j = i; j < std::min(n, i + 4096); j++) wrong += a[j] - a[j];
    good = good && wrong == 0;
  }
  return good;
}

// ends[M + 1] of the lists of the rows of x; returns how long they are together.
int64_t matrix_count(const float* x, L M, L K, int32_t* ends, L threads) {
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1 && M * K > 65536)
  for (L m = 0; m < M; m++) ends[m + 1] = (int32_t)nonzeros(x + m * K, K);
  ends[0] = 0;
  for (L m = 0; m < M; m++) ends[m + 1] += ends[m];
  return ends[M];
}

// y = x W^T + bias over all elements
void matrix_dense(const float* x, L M, const float* packed, L K, L N, const float* bias, float* y, L threads) {
  const L size = 48, tasks = (M + size - 1) / size;
  // few rows: threads share the columns
  const L parts = tasks >= threads || N <= COLUMNS<float> ? 1 : std::min(threads, N / COLUMNS<float>);
  const L columns = (N / parts + COLUMNS<float> - 1) / COLUMNS<float> * COLUMNS<float>;
#pragma omp parallel for schedule(dynamic) collapse(2) num_threads(threads) if (threads > 1 && M * K * N > 500000)
  for (L task = 0; task < tasks; task++)
    for (L part = 0; part < parts; part++) {
      const L m = task * size, n = part * columns, rows = std::min(size, M - m), width = std::min(columns, N - n);
      if (width <= 0) continue;
      const Rows<float> r{bias ? bias + n : nullptr, 0, nullptr, 0, y + m * N + n, N};
      product(x + m * K, K, rows, packed + n * K, K, width, &r);
    }
}

// Fills the lists that `matrix_count` has counted.
void matrix_list(const float* x, L M, L K, const int32_t* ends, int32_t* places, float* values, L threads) {
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1 && M * K > 65536)
  for (L m = 0; m < M; m++) list(x + m * K, K, places + ends[m], values + ends[m]);
}

// The same product from lists.
void matrix_listed(const int32_t* ends, const int32_t* places, const float* values, L M, const float* packed, L K,
                   L N, const float* bias, float* y, L threads) {
  const L size = std::max<L>(1, std::min<L>(64, M / 8)), tasks = (M + size - 1) / size;
  // columns of which W fits into the second cache
  L most = WIDE * LANES<float>;
  while (most > COLUMNS<float> && most * K * 4 > 768 << 10) most -= COLUMNS<float>;
#pragma omp parallel num_threads(threads) if (threads > 1 && M * K > 16384)
  for (L n = 0; n < N; n += most) {
    const L width = std::min(most, N - n);
#pragma omp for schedule(static)
    for (L task = 0; task < tasks; task++) {
      const L from = task * size, to = std::min(M, from + size);
      const Rows<float> r{bias ? bias + n : nullptr, 0, nullptr, 0, y + from * N + n, N};
      wide<float, true>(ends + from, places, values, to - from, View<float>{packed + n * K, 0, 0}, K, width, r);
    }
  }
}

// How many rows of g a sum of dW runs over before it joins the others: from the shape alone.
int64_t matrix_chunk(L N) { return std::max<L>(64, std::min<L>(1024, (512 << 10) / (4 * N))); }

// dW [N, K] = g^T x, from x or from lists (x null; column_ends [chunks, K + 1], rows and column_values [non-zeros] are
// scratch); g is [M, N]: padded to whole vectors by the caller where N is not a multiple of them. total: [K, N] scratch.
void matrix_weights(const float* x, const int32_t* ends, const int32_t* places, const float* values, L M, L K, L N,
                    L g_row, const float* g, int32_t* column_ends, int32_t* rows, float* column_values, float* total,
                    float* dw, L threads) {
  const L size = matrix_chunk(N), chunks = (M + size - 1) / size, block = x ? 48 : std::max<L>(1, K / 32);
  const L tasks = (K + block - 1) / block;
#pragma omp parallel num_threads(threads) if (threads > 1 && M * N > 16384)
  {
    if (!x) {
#pragma omp for schedule(dynamic)
      for (L c = 0; c < chunks; c++)
        by_columns(ends, places, values, c * size, std::min(M, c * size + size), K, column_ends + c * (K + 1), rows,
                   column_values);
    }
    for (L c = 0; c < chunks; c++) {
      const L m = c * size, count = std::min(size, M - m);
      const View<float> b{g + m * g_row, g_row, COLUMNS<float>};
#pragma omp for schedule(dynamic)
      for (L task = 0; task < tasks; task++) {
        const L k = task * block, width = std::min(block, K - k);
        float* to = total + k * N;
        const Rows<float> r{nullptr, 0, c ? to : nullptr, N, to, N};
        if (x) dense(x + m * K + k, 1, K, width, b, count, N, r);
        else wide<float, true>(column_ends + c * (K + 1) + k, rows, column_values, width, b, count, N, r);
      }
    }
#pragma omp for schedule(static)
    for (L n0 = 0; n0 < N; n0 += 16)
      for (L k0 = 0; k0 < K; k0 += 16)
        for (L n = n0; n < std::min(N, n0 + 16); n++)
          for (L k = k0; k < std::min(K, k0 + 16); k++) dw[n * K + k] = total[k * N + n];
  }
}

}  // extern "C"
