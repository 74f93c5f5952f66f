// The matrix library as other generated code sees it: a table of functions, called by address.
//
// Every element of a product is ONE chain: its start (or +0), then a[k] * w[k] for k = 0, 1, 2 ..., one fused
// multiply-add after another; then -0 becomes +0, and `add` is added last. So a result depends neither on how many
// rows are computed together, nor on threads and vector width, nor on whether zeros of `a` are skipped
// (0 * w leaves a sum as it is where w is finite; `pack` says whether all are).
#pragma once
#include <cstdint>

namespace tt {

template <class T> struct Rows {        // what a product starts from, adds, and writes: rows of N numbers
  const T* start; int64_t start_row;    // may be null: +0; a row distance of 0 repeats one row (a bias)
  const T* add; int64_t add_row;        // may be null
  T* to; int64_t to_row;
};

template <class T> struct Matrix {
  int64_t lanes;                        // numbers in a vector: 0 where there is no code for this processor
  // How many numbers a packed [K, N] takes. It must lie on a multiple of 64 bytes.
  int64_t (*packed_size)(int64_t K, int64_t N);
  // Element (k, n) is at w[k * w_k + n * w_n]. Returns 1 where all are finite, else 0.
  int64_t (*pack)(const T* w, int64_t w_k, int64_t w_n, int64_t K, int64_t N, T* packed, int64_t threads);
  // [rows, K] x [K, N], by the calling thread alone. Good blocks have 16 to 64 rows.
  void (*product)(const T* a, int64_t a_row, int64_t rows, const T* packed, int64_t K, int64_t N, const Rows<T>* r);
  // The same bits, zeros of `a` skipped; scratch has room for K places and K values. W must be finite.
  void (*skipping)(const T* a, int64_t a_row, int64_t rows, const T* packed, int64_t K, int64_t N, const Rows<T>* r,
                   int32_t* places, T* values);
  // The same bits from lists: row i has the non-zeros [ends[i], ends[i + 1]). W must be finite.
  void (*listed)(const int32_t* ends, const int32_t* places, const T* values, int64_t rows, const T* packed, int64_t K,
                 int64_t N, const Rows<T>* r);
  // Non-zeros among n numbers (NaN is one).
  int64_t (*nonzeros)(const T* a, int64_t n);
};

}  // namespace tt
