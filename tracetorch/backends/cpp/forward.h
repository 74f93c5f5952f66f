// The loop forward in time. `Step::forward` computes one row of lanes: x and states in, y, next states, traces out.
#pragma once
#include "loop.h"

namespace tt {

INLINE void forward_tile(const Arguments& a, const Grid& g, const Params& p, long base, const int w) {
  const IO* x = a.pointer<const IO>(X) + base;
  IO* y = a.pointer<IO>(Y) + base;
  T* checkpoint = a.pointer<T>(CHECKPOINTS);
  alignas(64) T state[(STATES + 1) * W];
  begin(state, a, START_AT, base, w);
  const long steps = a[STEPS], stride = a[X_STRIDE];
  for (long t = 0, since = 0; t < steps; t++, since++) {
    if (checkpoint && since == a[SEGMENT]) {
      scatter(state, checkpoint + base, g.size, w);
      checkpoint += STATES * g.size;
      since = 0;
    }
    if (t + AHEAD < steps) {
      prefetch(x + (t + AHEAD) * stride, w);
      prefetch_to_write(y + (t + AHEAD) * g.size, w);
    }
    T* trace[TRACES + 1];
    for (int q = 0; q < TRACES; q++) trace[q] = a.pointer<T>(TRACE_AT + q) + t * g.size + base;
    Step::forward(w, x + t * stride, state, state, p, draw_at(a, t), (uint64_t)base, y + t * g.size, trace);
  }
  for (int q = 0; q < STATES; q++) {
    T* to = a.pointer<T>(FINAL_AT + q) + base;
    LANES(w) to[i] = state[q * W + i];
  }
}

}  // namespace tt

extern "C" void forward(const int64_t* arguments) {
  using namespace tt;
  const Arguments a{arguments};
  const Grid g(a);
  const int n = threads(a, g);
  large_pages(a.pointer<IO>(Y), a[STEPS] * g.size);
  large_pages(a.pointer<T>(CHECKPOINTS), (a[STEPS] - 1) / a[SEGMENT] * STATES * g.size);
  for (int q = 0; q < STATES; q++) large_pages(a.pointer<T>(FINAL_AT + q), g.size);
  for (int q = 0; q < TRACES; q++) large_pages(a.pointer<T>(TRACE_AT + q), a[STEPS] * g.size);
#pragma omp parallel for schedule(static) num_threads(n) if (n > 1)
  for (long task = 0; task < g.tasks(); task++) {
    const long block = task / g.chunks, from = task % g.chunks * g.chunk;
    const long to = from + g.chunk < g.rows ? from + g.chunk : g.rows;
    Params p;
    p.load(a, g, block);
    for (long row = from; row < to; row++) {
      const int w = g.width(row, block);
      const long base = row * g.columns + block * W;
      if (w == W) forward_tile(a, g, p, base, W);
      else if (w > 0) forward_tile(a, g, p, base, w);
    }
  }
}
