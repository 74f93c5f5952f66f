// What both loops backward in time share: the gradients of the parameters. GRADS of them need one; GRAD_IS_VECTOR says
// which have one per neuron. TAPE values of a step are written down in recomputing it, because they cost more to
// compute again.
#pragma once
#include "loop.h"

namespace tt {

constexpr int FRAME = (STATES + TAPE) * W;      // what is kept of a step of the segment

alignas(64) static const T zeros[W] = {};
alignas(64) static const IO no_cotangent[W] = {};

// Sums of one block of lanes over the rows of a chunk, put where `reduce` finds them: `vectors` holds
// [chunks, GRADS, columns], `scalars` [tasks, GRADS].
INLINE void collect(const Grid& g, long block, long chunk, const T* sums, T* vectors, double* scalars) {
  const long w = g.columns - block * W < W ? g.columns - block * W : W;
  for (int q = 0; q < GRADS; q++) {
    double total = 0;
    if (GRAD_IS_VECTOR[q]) std::memcpy(vectors + (chunk * GRADS + q) * g.columns + block * W, sums + q * W, sizeof(T) * w);
    else for (long i = 0; i < w; i++) total += sums[q * W + i];
    scalars[(block * g.chunks + chunk) * GRADS + q] = total;
  }
}

// Sums of the gradients of one parameter per neuron over what was collected.
static __attribute__((noinline)) void add_up(const Arguments& a, const Grid& g, const T* vectors, int q, T* to, long from_block, long to_block) {
  const long inner = a[INNER];
  for (long first = from_block * W; first < to_block * W && first < a[NEURONS]; first += W) {
    const int w = a[NEURONS] - first < W ? (int)(a[NEURONS] - first) : W;
    double total[W] = {};
    for (long c = 0; c < g.chunks; c++)
      for (long m = first * inner; m < g.columns; m += g.period)
        for (long k = 0; k < inner; k++) {
          const T* from = vectors + (c * GRADS + q) * g.columns + m + k;
          LANES(w) total[i] += from[i * inner];
        }
    LANES(w) to[first + i] = (T)total[i];
  }
}

// Gradients of the parameters as stored: sums over lanes and rows, led through the activations.
static void reduce(const Arguments& a, const Grid& g, const T* vectors, const double* scalars, int n) {
  for (int q = 0; q < GRADS; q++) {
    T* to = a.pointer<T>(GPARAM_AT + q);
    if (GRAD_IS_VECTOR[q]) {
      const int threads = g.columns * g.chunks > ALONE ? n : 1;
      deal((a[NEURONS] + W - 1) / W, threads, [&](long first, long last) { add_up(a, g, vectors, q, to, first, last); });
    } else {
      double total = 0;
      for (long task = 0; task < g.tasks(); task++) total += scalars[task * GRADS + q];
      *to = (T)total;
    }
    Step::through_activation(q, GRAD_IS_VECTOR[q] ? (int)a[NEURONS] : 1, a.pointer<const T>(STORED_AT + q), to);
  }
}

}  // namespace tt
