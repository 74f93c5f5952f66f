// How one step is cut into tiles, and what both loops over time need. A generated file defines these and `Step`,
// then includes forward.h or backward.h:
//   T, IO                   type of the computation, and of x, y and their gradients
//   STATES, RECORDINGS      how many states and recordings
//   SCALARS, VECTORS        how many parameters with one value, and with one per neuron
//   START                   what a state begins with where no tensor is given
//   enum Slot               where the arguments of a call lie
#pragma once
#include <cstdlib>
#ifdef __linux__
#include <sys/mman.h>
#endif

#include "number.h"

namespace tt {

constexpr int W = 256;      // lanes of a tile: its states stay in L1, its rows are long enough to prefetch
constexpr long TASKS = 128; // tiles are dealt out in about this many tasks, for any number of threads,
constexpr long LEAST = 4096;    // each of so many neuron-steps or more: sums are collected from every task
constexpr long ALONE = 32768;   // below this many neuron-steps one thread is faster than two

#define LANES(w) _Pragma("omp simd") for (int i = 0; i < (w); i++)

// What a call passes: numbers, and addresses as numbers (0: none), at the places that slots.py names.
struct Arguments {
  const int64_t* at;
  long operator[](int i) const { return (long)at[i]; }
  template <class P> P* pointer(int i) const { return reinterpret_cast<P*>(at[i]); }
};

// In a scan of few steps, spreading parameters over a tile costs as much as the steps: rows at least this long are
// tiles of their own, which read them in place.
constexpr long FEW = 4, NARROW = 64;

// One step [outer, N, inner] as rows of lanes over which the parameters repeat: `columns` = N * inner, or as many
// such pieces as fit into W. Rows are cut into `blocks` of at most W lanes; a task is one block of `chunk` rows,
// a division that depends on the shape alone, so that sums over it do not depend on the number of threads.
struct Grid {
  long size, period, columns, blocks, rows, chunk, chunks;
  explicit Grid(const Arguments& a) {
    period = a[NEURONS] * a[INNER];
    size = a[OUTER] * period;
    const bool short_rows = period < (a[STEPS] > FEW ? W : NARROW);
    columns = short_rows ? W / period * period : period;
    blocks = (columns + W - 1) / W;
    rows = (size + columns - 1) / columns;
    const long most = size * a[STEPS] / LEAST, tasks = most < 1 ? 1 : most < TASKS ? most : TASKS;
    chunks = (tasks + blocks - 1) / blocks;
    chunk = rows > chunks ? (rows + chunks - 1) / chunks : 1;
    chunks = (rows + chunk - 1) / chunk;
  }
  long tasks() const { return blocks * chunks; }
  int width(long row, long block) const {
    long end = columns < (block + 1) * W ? columns : (block + 1) * W;
    if (row * columns + end > size) end = size - row * columns;
    return end > block * W ? (int)(end - block * W) : 0;
  }
};

// The parameters of one block: single values, and rows with a value per lane. Rows are read where they lie if the
// lanes of a tile are neurons one after another, else they are spread out over the tile's lanes.
struct Params {
  T scalar[SCALARS + 1];
  const T* vector[VECTORS + 1];
  alignas(64) T lanes[(VECTORS + 1) * W];
  void load(const Arguments& a, const Grid& g, long block) {
    for (int q = 0; q < SCALARS; q++) scalar[q] = *a.pointer<const T>(PARAMS_AT + q);
    if (!VECTORS) return;
    const bool in_place = a[INNER] == 1 && g.columns == g.period;
    for (int q = 0; q < VECTORS; q++) {
      const T* from = a.pointer<const T>(PARAMS_AT + SCALARS + q);
      vector[q] = in_place ? from + block * W : lanes + q * W;
    }
    if (!in_place) spread(a, g, block);
  }
  void spread(const Arguments& a, const Grid& g, long block) {
    const long rest = g.columns - block * W, lane = block * W % g.period;
    const int w = rest < W ? (int)rest : W;
    int32_t neuron_of[W];
    for (long i = 0, neuron = lane / a[INNER], k = lane % a[INNER]; i < w; i++) {
      neuron_of[i] = (int32_t)neuron;
      if (++k == a[INNER]) k = 0, neuron = neuron + 1 == a[NEURONS] ? 0 : neuron + 1;
    }
    for (int q = 0; q < VECTORS; q++) {
      const T* from = a.pointer<const T>(PARAMS_AT + SCALARS + q);
      LANES(w) lanes[q * W + i] = from[neuron_of[i]];
    }
  }
};

// Rows lie too far apart for the processor to foresee the next one: ask for it this many steps ahead.
constexpr long AHEAD = 2;

template <class P> INLINE void prefetch(const P* row, int w) {
  for (int i = 0; i < w; i += 64 / (int)sizeof(P)) __builtin_prefetch(row + i);
}
template <class P> INLINE void prefetch_to_write(P* row, int w) {
  for (int i = 0; i < w; i += 64 / (int)sizeof(P)) __builtin_prefetch(row + i, 1);
}

// States, one after another, between memory (`stride` apart) and a tile.
INLINE void gather(T* tile, const T* from, long stride, int w) {
  for (int q = 0; q < STATES; q++) LANES(w) tile[q * W + i] = from[q * stride + i];
}
INLINE void scatter(const T* tile, T* to, long stride, int w) {
  for (int q = 0; q < STATES; q++) LANES(w) to[q * stride + i] = tile[q * W + i];
}
INLINE void begin(T* tile, const Arguments& a, int first, long base, int w) {
  for (int q = 0; q < STATES; q++) {
    const T* from = a.pointer<const T>(first + q);
    LANES(w) tile[q * W + i] = from ? from[base + i] : START[q];
  }
}

// Ask for large pages before an output is first written: faulting it in by pages of 4 KiB takes longer than the scan.
template <class P> INLINE void large_pages(P* begin, long count) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr uintptr_t LARGE = 1 << 21;
  const uintptr_t from = ((uintptr_t)begin + LARGE - 1) & ~(LARGE - 1), to = (uintptr_t)(begin + count) & ~(LARGE - 1);
  if (begin && to > from) madvise((void*)from, to - from, MADV_HUGEPAGE);
#endif
}

INLINE Draw draw_at(const Arguments& a, long t) {
  return {(uint32_t)a[SEED], (uint32_t)((uint64_t)a[SEED] >> 32), (uint32_t)(a[POSITION] + t)};
}

INLINE int threads(const Arguments& a, const Grid& g) {
  const long most = g.size * a[STEPS] < ALONE ? 1 : a[THREADS];
  return (int)(most < g.tasks() ? most : g.tasks());
}

// Call f(first, last) for shares of the tasks, on n threads; a team of one takes longer than a small kernel.
template <class F> INLINE void deal(long tasks, int n, const F& f) {
  if (n == 1) return f(0, tasks);
#pragma omp parallel for schedule(static) num_threads(n)
  for (int k = 0; k < n; k++) f(tasks * k / n, tasks * (k + 1) / n);
}

}  // namespace tt

// Whether numbers in memory are equal, byte by byte: how many pairs, then of each two addresses and the bytes.
extern "C" int same(const int64_t* pairs) {
  for (const int64_t *pair = pairs + 1, *end = pair + 3 * *pairs; pair < end; pair += 3)
    if (std::memcmp((const void*)pair[0], (const void*)pair[1], (size_t)pair[2])) return 0;
  return 1;
}
