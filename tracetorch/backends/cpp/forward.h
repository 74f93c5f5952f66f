// The loop forward in time. `Step::forward` computes one row of lanes: x and states in, y, next states, recordings out.
#pragma once
#include "places.h"

namespace tt {

INLINE void forward_tile(const Arguments& a, const Grid& g, const Params& p, long base, const int w) {
  Laid<const IO> x;
  Laid<IO> y;
  Laid<T> recordings[RECORDINGS + 1];
  find(x, a, a.pointer<const IO>(X), X_STRIDE, base, w);
  find(y, a, a.pointer<IO>(Y), OUT_STRIDE, base, w);
  for (int q = 0; q < RECORDINGS; q++) find(recordings[q], a, a.pointer<T>(RECORDING_AT + q), OUT_STRIDE, base, w);
  alignas(64) IO x_room[W], y_room[W];
  alignas(64) T recording_room[RECORDINGS + 1][W], state[(STATES + 1) * W];
  T* checkpoint = a.pointer<T>(CHECKPOINTS);
  begin(state, a, START_AT, base, w);
  const long steps = a[STEPS];
  for (long t = 0, since = 0; t < steps; t++, since++) {
    if (checkpoint && since == a[SEGMENT]) {
      scatter(state, checkpoint + base, g.size, w);
      checkpoint += STATES * g.size;
      since = 0;
    }
    if (t + AHEAD < steps) {
      prefetch(x, t + AHEAD, w);
      prefetch_to_write(y, t + AHEAD, w);
    }
    T* recording[RECORDINGS + 1];
    for (int q = 0; q < RECORDINGS; q++) recording[q] = place(recordings[q], t, recording_room[q]);
    Step::forward(w, read(x, t, w, x_room), state, state, p, draw_at(a, t), (uint64_t)base, place(y, t, y_room), recording);
    written(y, t, w, y_room);
    for (int q = 0; q < RECORDINGS; q++) written(recordings[q], t, w, recording_room[q]);
  }
  for (int q = 0; q < STATES; q++) {
    T* to = a.pointer<T>(FINAL_AT + q) + base;
    LANES(w) to[i] = state[q * W + i];
  }
}

static __attribute__((noinline)) void forward_tasks(const Arguments& a, const Grid& g, long first, long last) {
  for (long task = first; task < last; task++) {
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

}  // namespace tt

extern "C" void forward(const int64_t* arguments) {
  using namespace tt;
  const Arguments a{arguments};
  const Grid g(a);
  large_pages(a.pointer<IO>(Y), a[STEPS] * g.size);
  large_pages(a.pointer<T>(CHECKPOINTS), (a[STEPS] - 1) / a[SEGMENT] * STATES * g.size);
  for (int q = 0; q < STATES; q++) large_pages(a.pointer<T>(FINAL_AT + q), g.size);
  for (int q = 0; q < RECORDINGS; q++) large_pages(a.pointer<T>(RECORDING_AT + q), a[STEPS] * g.size);
  deal(g.tasks(), threads(a, g), [&](long first, long last) { forward_tasks(a, g, first, last); });
}
