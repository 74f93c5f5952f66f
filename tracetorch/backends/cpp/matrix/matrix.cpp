// The matrix library: products whose bits depend on nothing but their numbers, over all elements or over the non-zeros.
// Built once, and called by address: the functions of `Matrix` by one thread each, the others with threads of their own.
#include <cstdlib>
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

// A tile of one or two rows leaves most registers idle: such rows take as many columns at once as there are registers.
template <class T> static void all(const T* a, L a_row, L rows, const View<T>& w, L K, L N, const Rows<T>& r) {
  if (rows > 2) return dense(a, a_row, 1, rows, w, K, N, r);
  for (L i = 0; i < rows; i++) wide<T, false>(nullptr, nullptr, a + i * a_row, 1, w, K, N, moved(r, i, 0));
}

template <class T>
static void product(const T* a, L a_row, L rows, const T* packed, L K, L N, const Rows<T>* r) {
  all(a, a_row, rows, View<T>{packed, 0, 0}, K, N, *r);
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

static const L CHUNK = 192;

extern "C" {

const void* matrix_float() { return &table<float>; }
const void* matrix_double() { return &table<double>; }

int64_t matrix_lanes() { return table<float>.lanes; }
int64_t matrix_packed_size(L K, L N) { return packed_size<float>(K, N); }

// A number that changes with any bit of n numbers.
static uint64_t digest(const float* w, L n, L threads) {
  typedef uint64_t eight __attribute__((vector_size(64)));
  const uint64_t m = 0x9E3779B97F4A7C15u, q = 0xC2B2AE3D27D4EB4Fu;
  const L size = 1 << 15, parts = (n + size - 1) / size;
  uint64_t all = 0;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1 && n > 200000) reduction(+ : all)
  for (L part = 0; part < parts; part++) {
    const float* p = w + part * size;
    const L count = std::min(size, n - part * size);
    eight sum[8];
    for (int j = 0; j < 8; j++)
      for (int i = 0; i < 8; i++) sum[j][i] = (uint64_t)(8 * j + i + 1) + (uint64_t)part * q;
    L i = 0;
    for (; i + 128 <= count; i += 128)          // each word times an odd number, shifted into itself: no change is lost
#pragma GCC unroll 8
      for (int j = 0; j < 8; j++) {
        eight v;
        std::memcpy(&v, p + i + 16 * j, sizeof v);
        sum[j] = (sum[j] ^ v) * m;
        sum[j] ^= sum[j] >> 32;
      }
    for (; i < count; i++) {
      uint32_t v;
      std::memcpy(&v, p + i, sizeof v);
      sum[0][0] = (sum[0][0] ^ v) * m, sum[0][0] ^= sum[0][0] >> 32;
    }
    uint64_t one = 0;
    for (int j = 0; j < 8; j++)
      for (int k = 0; k < 8; k++) one = (one ^ sum[j][k]) * m, one ^= one >> 29;
    all += one;
  }
  return all;
}

// What is known of a packed matrix: 1 once there is one, the digest it was packed at, and whether all of it is finite.
struct Known { uint64_t packed, digest, finite; };

// W [N, K] packed as W^T [K, N], with `transposed` as W itself; anew where W is not what it was.
// Returns whether all of it is finite.
int64_t matrix_refresh(const float* w, L K, L N, L transposed, float* packed, Known* known, L threads) {
  const uint64_t now = digest(w, K * N, threads);
  if (!known->packed || known->digest != now) {
    const bool good = transposed ? pack(w, K, 1, N, K, packed, threads) : pack(w, 1, K, K, N, packed, threads);
    *known = {1, now, good};
  }
  return (int64_t)known->finite;
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

// y = x w + bias over all elements; w [K, N] is packed, or has rows w_row apart, N being whole vectors then.
void matrix_dense(const float* x, L M, const float* w, L w_row, L K, L N, const float* bias, float* y, L threads) {
  const L size = 48, tasks = (M + size - 1) / size;
  // few rows: threads share the columns
  const L parts = tasks >= threads || N <= COLUMNS<float> ? 1 : std::min(threads, N / COLUMNS<float>);
  const L panels = (N + COLUMNS<float> - 1) / COLUMNS<float>, columns = (panels + parts - 1) / parts * COLUMNS<float>;
#pragma omp parallel for schedule(dynamic) collapse(2) num_threads(threads) if (threads > 1 && M * K * N > 500000)
  for (L task = 0; task < tasks; task++)
    for (L part = 0; part < parts; part++) {
      const L m = task * size, n = part * columns, rows = std::min(size, M - m), width = std::min(columns, N - n);
      if (width <= 0) continue;
      const View<float> view = w_row ? View<float>{w + n, w_row, COLUMNS<float>} : View<float>{w + n * K, 0, 0};
      all(x + m * K, K, rows, view, K, width, Rows<float>{bias ? bias + n : nullptr, 0, nullptr, 0, y + m * N + n, N});
    }
}

// Both in one call with one argument: small products cost less than calls and arguments.
void matrix_refreshed(const L* a) {
  const L M = a[0], K = a[1], N = a[2], threads = a[3];
  float* packed = (float*)a[6];
  matrix_refresh((const float*)a[5], K, N, 0, packed, (Known*)a[7], threads);
  matrix_dense((const float*)a[4], M, packed, 0, K, N, (const float*)a[8], (float*)a[9], threads);
}

// Fills the lists that `matrix_count` has counted.
void matrix_list(const float* x, L M, L K, const int32_t* ends, int32_t* places, float* values, L threads) {
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1 && M * K > 65536)
  for (L m = 0; m < M; m++) list(x + m * K, K, places + ends[m], values + ends[m]);
}

// The same product from lists, which are filled on the way where x is given: the rows are at hand then.
void matrix_listed(const float* x, const int32_t* ends, int32_t* places, float* values, L M, const float* packed, L K,
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
      for (L m = from; x && n == 0 && m < to; m++) list(x + m * K, K, places + ends[m], values + ends[m]);
      const Rows<float> r{bias ? bias + n : nullptr, 0, nullptr, 0, y + from * N + n, N};
      wide<float, true>(ends + from, places, values, to - from, View<float>{packed + n * K, 0, 0}, K, width, r);
    }
  }
}

// How many rows a sum of dW runs over before it joins the others: long sums would err more than those of a BLAS.
int64_t matrix_chunk() { return CHUNK; }

// dW [N, K] = g^T x of g [M, N] and x [M, K].
void matrix_weights(const float* x, const float* g, L M, L K, L N, float* dw, L threads) {
  const L chunks = (M + CHUNK - 1) / CHUNK, high = 48, wide = 4 * COLUMNS<float>;
  const L tall = (N + high - 1) / high, broad = (K + wide - 1) / wide, K16 = padded<float>(K);
  // vectors read past the end of a row into the next one; the last rows are copied to where that is allowed
  const L last = (chunks - 1) * CHUNK;
  float* rest = K16 == K ? nullptr : (float*)std::malloc(sizeof(float) * (size_t)((M - last) * K16));
  for (L m = last; rest && m < M; m++) std::memcpy(rest + (m - last) * K16, x + m * K, sizeof(float) * (size_t)K);
#pragma omp parallel for schedule(dynamic) collapse(2) num_threads(threads) if (threads > 1 && M * K * N > 500000)
  for (L i = 0; i < broad; i++)
    for (L j = 0; j < tall; j++) {
      const L k = i * wide, n = j * high;
      float* to = dw + n * K + k;
      for (L c = 0; c < chunks; c++) {
        const L m = c * CHUNK, count = std::min(CHUNK, M - m);
        const bool copied = rest && c == chunks - 1;
        const View<float> b{copied ? rest + k : x + m * K + k, copied ? K16 : K, COLUMNS<float>};
        dense(g + m * N + n, 1, N, std::min(high, N - n), b, count, std::min(wide, K - k),
              Rows<float>{nullptr, 0, c ? to : nullptr, K, to, K});
      }
    }
  std::free(rest);
}

// For few rows all that is wanted (not null) of dx = g W, dW and the sum over g in one call, W read where it lies.
void matrix_gradients(const L* a) {
  const L M = a[0], K = a[1], N = a[2], threads = a[3];
  const float *g = (const float*)a[4], *x = (const float*)a[5], *w = (const float*)a[6];
  float *dx = (float*)a[7], *dw = (float*)a[8], *sum = (float*)a[9];
  if (dx && padded<float>(K) == K) matrix_dense(g, M, w, K, N, K, nullptr, dx, threads);
  else if (dx) {
    // vectors read past the end of a row into the next one; the last row is copied to where that is allowed
    float* last = (float*)std::malloc(sizeof(float) * (size_t)padded<float>(K));
    std::memcpy(last, w + (N - 1) * K, sizeof(float) * (size_t)K);
    if (N > 1) all(g, N, M, View<float>{w, K, COLUMNS<float>}, N - 1, K, Rows<float>{nullptr, 0, nullptr, 0, dx, K});
    all(g + N - 1, N, M, View<float>{last, padded<float>(K), COLUMNS<float>}, 1, K,
        Rows<float>{N > 1 ? dx : nullptr, K, nullptr, 0, dx, K});
    std::free(last);
  }
  if (dw) matrix_weights(x, g, M, K, N, dw, threads);
  if (sum)
    for (L n = 0; n < N; n++) {
      float total = 0;
      for (L m = 0; m < M; m++) total += g[m * N + n];
      sum[n] = total;
    }
}

// The same from the lists of x. g_row: N, or padded to whole vectors where N is not a multiple of them. Scratch:
// column_ends [chunks, K + 1], rows and column_values [non-zeros], total [K, N].
void matrix_weights_listed(const int32_t* ends, const int32_t* places, const float* values, L M, L K, L N, L g_row,
                           const float* g, int32_t* column_ends, int32_t* rows, float* column_values, float* total,
                           float* dw, L threads) {
  const L chunks = (M + CHUNK - 1) / CHUNK, block = std::max<L>(1, K / 32), tasks = (K + block - 1) / block;
#pragma omp parallel num_threads(threads) if (threads > 1 && M * N > 16384)
  {
#pragma omp for schedule(dynamic)
    for (L c = 0; c < chunks; c++)
      by_columns(ends, places, values, c * CHUNK, std::min(M, c * CHUNK + CHUNK), K, column_ends + c * (K + 1), rows,
                 column_values);
#pragma omp for schedule(dynamic)
    for (L task = 0; task < tasks; task++) {
      const L k = task * block, width = std::min(block, K - k);
      float* to = total + k * N;
      for (L c = 0; c < chunks; c++)
        wide<float, true>(column_ends + c * (K + 1) + k, rows, column_values, width,
                          View<float>{g + c * CHUNK * g_row, g_row, COLUMNS<float>}, CHUNK, N,
                          Rows<float>{nullptr, 0, c ? to : nullptr, N, to, N});
    }
#pragma omp for schedule(static)
    for (L n0 = 0; n0 < N; n0 += 16)
      for (L k0 = 0; k0 < K; k0 += 16)
        for (L n = n0; n < std::min(N, n0 + 16); n++)
          for (L k = k0; k < std::min(K, k0 + 16); k++) dw[n * K + k] = total[k * N + n];
  }
}

}  // extern "C"
