// The loop backward in time. A segment's states are recomputed from its checkpoint by `Step::advance`; then
// `Step::backward` takes one row after another: cotangents of y, recordings and next states in, of x and states out,
// those of parameters added up.
#pragma once
#include "gradients.h"
#include "places.h"

namespace tt {

// What the steps of one tile read and write: input, its gradient, cotangents of the output and of the recordings.
struct Tile {
  Laid<const IO> x, gy;
  Laid<IO> gx;
  Laid<const T> grecording[RECORDINGS + 1];
  alignas(64) IO x_room[W], gy_room[W], gx_room[W];
  alignas(64) T grecording_room[RECORDINGS + 1][W];
  Tile(const Arguments& a, long base, int w) {
    find(x, a, a.pointer<const IO>(X), X_STRIDE, base, w);
    find(gx, a, a.pointer<IO>(GX), OUT_STRIDE, base, w);
    if (a[GY]) find(gy, a, a.pointer<const IO>(GY), GY_STRIDE, base, w);
    else find(gy, no_cotangent);
    for (int q = 0; q < RECORDINGS; q++) {
      const T* from = a.pointer<const T>(GRECORDING_AT + q);
      if (from) find(grecording[q], a, from, GRECORDING_STRIDE_AT + 3 * q, base, w);
      else find(grecording[q], zeros);
    }
  }
};

INLINE void backward_step(const Arguments& a, const Params& p, Tile& tile, long t, long base, const int w, const T* state, T* gstate, T* sums) {
  const T* grecording[RECORDINGS + 1];
  for (int q = 0; q < RECORDINGS; q++) grecording[q] = read(tile.grecording[q], t, w, tile.grecording_room[q]);
  const IO* x = read(tile.x, t, w, tile.x_room);
  const IO* gy = read(tile.gy, t, w, tile.gy_room);
  Step::backward(w, x, state, state + STATES * W, p, draw_at(a, t), (uint64_t)base, gy, grecording, gstate, sums, place(tile.gx, t, tile.gx_room));
  if (a[GX]) written(tile.gx, t, w, tile.gx_room);
}

INLINE void backward_tile(const Arguments& a, const Grid& g, const Params& p, long base, const int w, T* scratch, T* sums) {
  Tile tile(a, base, w);
  const long steps = a[STEPS], segment = a[SEGMENT];
  alignas(64) T gstate[(STATES + 1) * W];
  for (int q = 0; q < STATES; q++) {
    const T* from = a.pointer<const T>(GFINAL_AT + q);
    LANES(w) gstate[q * W + i] = from ? from[base + i] : T(0);
  }
  for (long s = (steps - 1) / segment; s >= 0; s--) {
    const long first = s * segment, last = (first + segment < steps ? first + segment : steps) - 1;
    if (s) gather(scratch, a.pointer<const T>(CHECKPOINTS) + (s - 1) * STATES * g.size + base, g.size, w);
    else begin(scratch, a, START_AT, base, w);
    for (long t = first; t < last + (TAPE > 0); t++) {
      T* state = scratch + (t - first) * FRAME;
      if (t + AHEAD <= last) prefetch(tile.x, t + AHEAD, w);
      Step::advance(w, read(tile.x, t, w, tile.x_room), state, state + FRAME, state + STATES * W, p, draw_at(a, t), (uint64_t)base);
    }
    for (long t = last; t >= first; t--) {
      if (t >= segment) prefetch(tile.x, t - segment, w);
      if (a[GY] && t >= AHEAD) prefetch(tile.gy, t - AHEAD, w);
      if (a[GX] && t >= AHEAD) prefetch_to_write(tile.gx, t - AHEAD, w);
      backward_step(a, p, tile, t, base, w, scratch + (t - first) * FRAME, gstate, sums);
    }
  }
  for (int q = 0; q < STATES; q++) {
    T* to = a.pointer<T>(GSTART_AT + q);
    if (to) LANES(w) to[base + i] = gstate[q * W + i];
  }
}

static __attribute__((noinline)) void backward_tasks(const Arguments& a, const Grid& g, T* vectors, double* scalars, long first, long last) {
  T* scratch = (T*)std::aligned_alloc(64, sizeof(T) * (size_t)((a[SEGMENT] + 1) * (FRAME + W)));
  for (long task = first; task < last; task++) {
    const long block = task / g.chunks, chunk = task % g.chunks, from = chunk * g.chunk;
    const long to = from + g.chunk < g.rows ? from + g.chunk : g.rows;
    Params p;
    p.load(a, g, block);
    alignas(64) T sums[(GRADS + 1) * W] = {};
    for (long row = from; row < to; row++) {
      const int w = g.width(row, block);
      const long base = row * g.columns + block * W;
      if (w == W) backward_tile(a, g, p, base, W, scratch, sums);
      else if (w > 0) backward_tile(a, g, p, base, w, scratch, sums);
    }
    collect(g, block, chunk, sums, vectors, scalars);
  }
  std::free(scratch);
}

}  // namespace tt

extern "C" void backward(const int64_t* arguments) {
  using namespace tt;
  const Arguments a{arguments};
  const Grid g(a);
  const int n = threads(a, g);
  large_pages(a.pointer<IO>(GX), a[STEPS] * g.size);
  for (int q = 0; q < STATES; q++) large_pages(a.pointer<T>(GSTART_AT + q), g.size);
  bool any_vector = false;
  for (int q = 0; q < GRADS; q++) any_vector |= GRAD_IS_VECTOR[q];
  T* vectors = any_vector ? (T*)std::malloc(sizeof(T) * (size_t)(g.chunks * GRADS * g.columns)) : nullptr;
  double* scalars = (double*)std::malloc(sizeof(double) * (size_t)(g.tasks() * (GRADS + 1)));
  deal(g.tasks(), n, [&](long first, long last) { backward_tasks(a, g, vectors, scalars, first, last); });
  reduce(a, g, vectors, scalars, n);
  std::free(vectors);
  std::free(scalars);
}
