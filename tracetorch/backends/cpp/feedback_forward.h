// The loop forward in time where the output is led back: drive = x + weight fed + bias, then `Step::forward`.
#pragma once
#include "feedback.h"

namespace tt {

INLINE void multiply(const Matrices& m, const T* fed, long rows, const Rows<T>& r, int32_t* places, T* values) {
  if (m.finite && is_sparse(m.table->nonzeros(fed, rows * m.N), rows * m.N))
    m.table->skipping(fed, m.N, rows, m.packed, m.N, m.N, &r, places, values);
  else m.table->product(fed, m.N, rows, m.packed, m.N, m.N, &r);
}

INLINE void forward_tile(const Arguments& a, const Grid& g, const Params& p, long t, long base, const int w, const T* drive, T* state) {
  T* recording[RECORDINGS + 1];
  for (int q = 0; q < RECORDINGS; q++) recording[q] = a.pointer<T>(RECORDING_AT + q) + t * g.size + base;
  Step::forward(w, drive, state, state, p, draw_at(a, t), (uint64_t)base, a.pointer<IO>(Y) + t * g.size + base, recording);
}

INLINE void copy(const T* from, T* to, int w) { LANES(w) to[i] = from[i]; }

// `states` holds the states of one tile after another, `fed` and `own` a row for each element of the batch.
static void forward_share(const Arguments& a, const FedGrid& g, const Share& k, const Params* params, const Matrices& m, T* states, T* fed, T* own, int32_t* places, T* values) {
  const long steps = a[STEPS], rows = k.batch(), N = m.N;
  T* checkpoint = a.pointer<T>(CHECKPOINTS);
  for (long j = 0; j < k.tiles; j++) {
    T* state = states + j * STATES * W;
    begin(state, a, START_AT, k.base(j), k.width(j));
    copy(state + FED * W, fed + k.base(j) - k.begin, k.width(j));
  }
  for (long t = 0, since = 0; t < steps; t++, since++) {
    if (checkpoint && since == a[SEGMENT]) {
      for (long j = 0; j < k.tiles; j++) scatter(states + j * STATES * W, checkpoint + k.base(j), g.size, k.width(j));
      checkpoint += STATES * g.size;
      since = 0;
    }
    T* drive = a[DRIVE] ? a.pointer<T>(DRIVE) + t * g.size + k.begin : own;
    const T* x = a.pointer<const T>(X) + t * a[X_STRIDE] + k.begin;
    multiply(m, fed, rows, Rows<T>{a.pointer<const T>(BIAS), 0, x, N, drive, N}, places, values);
    for (long j = 0; j < k.tiles; j++) {
      T* state = states + j * STATES * W;
      const long base = k.base(j), at = base - k.begin;
      const int w = k.width(j);
      if (w == W) forward_tile(a, g, params[k.block(j)], t, base, W, drive + at, state);
      else forward_tile(a, g, params[k.block(j)], t, base, w, drive + at, state);
      copy(state + FED * W, fed + at, w);
    }
  }
  for (long j = 0; j < k.tiles; j++)
    for (int q = 0; q < STATES; q++) copy(states + (j * STATES + q) * W, a.pointer<T>(FINAL_AT + q) + k.base(j), k.width(j));
}

}  // namespace tt

extern "C" void forward(const int64_t* arguments) {
  using namespace tt;
  const Arguments a{arguments};
  const FedGrid g(a);
  const int n = team(a, g);
  large_pages(a.pointer<IO>(Y), a[STEPS] * g.size);
  large_pages(a.pointer<T>(DRIVE), a[DRIVE] ? a[STEPS] * g.size : 0);
  for (int q = 0; q < RECORDINGS; q++) large_pages(a.pointer<T>(RECORDING_AT + q), a[STEPS] * g.size);
  const Scratch shared(sizeof(Params) * (size_t)g.blocks);
  load_all(shared.as<Params>(), a, g);
  const Matrices m(a, false);
#pragma omp parallel num_threads(n) if (n > 1)
  {
    const Scratch states(sizeof(T) * (size_t)(g.most_tiles() * STATES * W)), fed(sizeof(T) * (size_t)g.room());
    const Scratch drive(sizeof(T) * (size_t)g.room()), places(sizeof(int32_t) * (size_t)m.N), values(sizeof(T) * (size_t)m.N);
#pragma omp for schedule(static)
    for (long task = 0; task < g.chunks; task++)
      forward_share(a, g, Share(g, task), shared.as<Params>(), m, states.as<T>(), fed.as<T>(), drive.as<T>(), places.as<int32_t>(), values.as<T>());
  }
}
