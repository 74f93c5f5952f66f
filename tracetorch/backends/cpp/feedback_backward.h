// The loop backward in time where the output is led back. X holds the drives, GX takes their cotangents; what a drive
// hands to the output before it, `gdrive weight`, joins the cotangent of the state that holds that output.
#pragma once
#include "feedback.h"
#include "gradients.h"

namespace tt {

// A segment's states are recomputed, tile by tile, from its checkpoint.
INLINE void recompute(const Arguments& a, const Grid& g, const Params& p, long base, const int w, long first, long last, T* frames) {
  const IO* drive = a.pointer<const IO>(X) + base;
  const long segment = first / a[SEGMENT];
  if (segment) gather(frames, a.pointer<const T>(CHECKPOINTS) + (segment - 1) * STATES * g.size + base, g.size, w);
  else begin(frames, a, START_AT, base, w);
  for (long t = first; t < last + (TAPE > 0); t++) {
    T* state = frames + (t - first) * FRAME;
    Step::advance(w, drive + t * a[X_STRIDE], state, state + FRAME, state + STATES * W, p, draw_at(a, t), (uint64_t)base);
  }
}

INLINE void backward_step(const Arguments& a, const Grid& g, const Params& p, long t, long base, const int w, const T* state, T* gstate, T* sums) {
  const IO* gy = a.pointer<const IO>(GY);
  IO* gx = a.pointer<IO>(GX);
  const T* grecording[RECORDINGS + 1];
  for (int q = 0; q < RECORDINGS; q++) {
    const T* from = a.pointer<const T>(GRECORDING_AT + q);
    grecording[q] = from ? from + t * a[GRECORDING_STRIDE_AT + 3 * q] + base : zeros;
  }
  gy = gy ? gy + t * a[GY_STRIDE] + base : no_cotangent;
  Step::backward(w, a.pointer<const IO>(X) + t * a[X_STRIDE] + base, state, state + STATES * W, p, draw_at(a, t), (uint64_t)base, gy, grecording, gstate, sums, gx ? gx + t * g.size + base : gx);
}

static void backward_share(const Arguments& a, const FedGrid& g, const Share& k, const Params* params, const Matrices& m, T* frames, T* gstates, T* gfed, T* sums) {
  const long steps = a[STEPS], segment = a[SEGMENT], room = (segment + 1) * FRAME + W, states = (STATES + 1) * W;
  for (long j = 0; j < k.tiles; j++)
    for (int q = 0; q < STATES; q++) {
      const T* from = a.pointer<const T>(GFINAL_AT + q);
      T* gstate = gstates + j * states + q * W;
      LANES(k.width(j)) gstate[i] = from ? from[k.base(j) + i] : T(0);
    }
  for (long s = (steps - 1) / segment; s >= 0; s--) {
    const long first = s * segment, last = (first + segment < steps ? first + segment : steps) - 1;
    for (long j = 0; j < k.tiles; j++) {
      const int w = k.width(j);
      if (w == W) recompute(a, g, params[k.block(j)], k.base(j), W, first, last, frames + j * room);
      else recompute(a, g, params[k.block(j)], k.base(j), w, first, last, frames + j * room);
    }
    for (long t = last; t >= first; t--) {
      for (long j = 0; j < k.tiles; j++) {
        const T* state = frames + j * room + (t - first) * FRAME;
        T *gstate = gstates + j * states, *sum = sums + k.block(j) * (GRADS + 1) * W;
        const int w = k.width(j);
        if (w == W) backward_step(a, g, params[k.block(j)], t, k.base(j), W, state, gstate, sum);
        else backward_step(a, g, params[k.block(j)], t, k.base(j), w, state, gstate, sum);
      }
      if (!m.table || (!t && !a[GSTART_AT + FED])) continue;
      const Rows<T> r{nullptr, 0, nullptr, 0, gfed, m.N};
      m.table->product(a.pointer<const T>(GX) + t * g.size + k.begin, m.N, k.batch(), m.packed, m.N, m.N, &r);
      for (long j = 0; j < k.tiles; j++) {
        T *gstate = gstates + j * states + FED * W, *from = gfed + k.base(j) - k.begin;
        LANES(k.width(j)) gstate[i] += from[i];
      }
    }
  }
  for (long j = 0; j < k.tiles; j++)
    for (int q = 0; q < STATES; q++) {
      T *to = a.pointer<T>(GSTART_AT + q), *gstate = gstates + j * states + q * W;
      if (to) LANES(k.width(j)) to[k.base(j) + i] = gstate[i];
    }
}

}  // namespace tt

extern "C" void backward(const int64_t* arguments) {
  using namespace tt;
  const Arguments a{arguments};
  const FedGrid g(a);
  const int n = team(a, g);
  large_pages(a.pointer<IO>(GX), a[STEPS] * g.size);
  const Scratch shared(sizeof(Params) * (size_t)g.blocks);
  load_all(shared.as<Params>(), a, g);
  const Matrices m(a, true);
  const Scratch vectors(sizeof(T) * (size_t)(g.chunks * GRADS * g.columns)), scalars(sizeof(double) * (size_t)(g.tasks() * (GRADS + 1)));
#pragma omp parallel num_threads(n) if (n > 1)
  {
    const size_t tiles = (size_t)g.most_tiles(), per = (GRADS + 1) * W;
    const Scratch frames(sizeof(T) * tiles * (size_t)((a[SEGMENT] + 1) * FRAME + W)), gstates(sizeof(T) * tiles * (STATES + 1) * W);
    const Scratch gfed(sizeof(T) * (size_t)g.room()), sums(sizeof(T) * per * (size_t)g.blocks);
#pragma omp for schedule(static)
    for (long task = 0; task < g.chunks; task++) {
      std::memset(sums.at, 0, sizeof(T) * per * (size_t)g.blocks);
      backward_share(a, g, Share(g, task), shared.as<Params>(), m, frames.as<T>(), gstates.as<T>(), gfed.as<T>(), sums.as<T>());
      for (long block = 0; block < g.blocks; block++) collect(g, block, task, sums.as<T>() + block * per, vectors.as<T>(), scalars.as<double>());
    }
  }
  reduce(a, g, vectors.as<T>(), scalars.as<double>(), n);
}
