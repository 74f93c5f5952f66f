// Rows of lanes where they lie in memory. The steps of a tensor [T, step] are `stride` apart; a step is pieces of `piece`
// lanes side by side, each `apart` from the one before: a single piece where the step is contiguous.
#pragma once
#include <cstring>
#include <type_traits>

#include "loop.h"

namespace tt {

constexpr long SHORT = 6;      // lanes: shorter pieces are read and written lane by lane

// The lanes of one tile at every step. Where they lie side by side (`whole`) they are read and written in place, else
// by way of a room of W lanes.
template <class P> struct Laid {
  P* from;
  long stride, piece, apart, first;
  bool whole;
  long lane[W];     // where each lane lies, of short pieces
};

// `places` is the slot of the stride; those of piece and apart follow.
template <class P> INLINE void find(Laid<P>& r, const Arguments& a, P* to, int places, long base, int w) {
  r.stride = a[places], r.piece = a[places + 1], r.apart = a[places + 2];
  r.first = base % r.piece;
  r.whole = r.first + w <= r.piece;
  r.from = to ? to + base / r.piece * r.apart + (r.whole ? r.first : 0) : to;
  if (!r.whole && r.piece < SHORT)
    for (long i = 0, k = r.first, at = 0; i < w; i++) {
      r.lane[i] = at + k;
      if (++k == r.piece) k = 0, at += r.apart;
    }
}
// One row, the same at every step.
template <class P> INLINE void find(Laid<P>& r, P* row) { r.from = row, r.stride = 0, r.whole = true; }

// Call f(lane, where it and those that follow lie, how many) for every piece of a row.
template <class P, class F> INLINE void each_piece(const Laid<P>& r, long t, int w, F f) {
  P* row = r.from + t * r.stride;
  for (long i = 0, k = r.first; i < w; k = 0, row += r.apart) {
    const long n = r.piece - k < w - i ? r.piece - k : w - i;
    f(i, row + k, n);
    i += n;
  }
}

template <class P, class V> INLINE P* read(const Laid<P>& r, long t, int w, V* room) {
  P* row = r.from + t * r.stride;
  if (r.whole) return row;
  if (r.piece == 1) for (long i = 0; i < w; i++) room[i] = row[i * r.apart];
  else if (r.piece < SHORT) for (int i = 0; i < w; i++) room[i] = row[r.lane[i]];
  else each_piece(r, t, w, [room](long i, P* piece, long n) { for (long m = 0; m < n; m++) room[i + m] = piece[m]; });
  return room;
}
// Where to write a row; `written` then puts it where it belongs.
template <class P> INLINE P* place(const Laid<P>& r, long t, P* room) { return r.whole ? r.from + t * r.stride : room; }
template <class P> INLINE void written(const Laid<P>& r, long t, int w, const P* room) {
  if (r.whole) return;
  P* row = r.from + t * r.stride;
  if (r.piece == 1) for (long i = 0; i < w; i++) row[i * r.apart] = room[i];
  else if (r.piece < SHORT) for (int i = 0; i < w; i++) row[r.lane[i]] = room[i];
  else each_piece(r, t, w, [room](long i, P* piece, long n) { for (long m = 0; m < n; m++) piece[m] = room[i + m]; });
}

template <class P> INLINE void prefetch(const Laid<P>& r, long t, int w) {
  if (r.whole) prefetch(r.from + t * r.stride, w);
  else if (r.piece >= SHORT) each_piece(r, t, w, [](long, P* piece, long n) { prefetch(piece, (int)n); });
}
template <class P> INLINE void prefetch_to_write(const Laid<P>& r, long t, int w) {
  if (r.whole) prefetch_to_write(r.from + t * r.stride, w);
  else if (r.piece >= SHORT) each_piece(r, t, w, [](long, P* piece, long n) { prefetch_to_write(piece, (int)n); });
}

}  // namespace tt
