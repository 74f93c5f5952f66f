// What both loops share where the output is led back to the input. A task is some rows of the batch, all their neurons
// and all of time, so that no task waits for another; between two steps of it stands a product with the matrix. Besides
// what loop.h asks for, a generated file defines FED, which of the states holds the last output.
#pragma once
#include "loop.h"
#include "matrix/matrix.h"

namespace tt {

// Rows of the batch in a task, from the shape alone: enough that a packed matrix is read for many rows at once, and few
// enough that a small batch still gives some tasks.
constexpr long MOST_ROWS = 16, MOST_WIDE_ROWS = 32, FEWEST_ROWS = 4, SHARES = 4;

struct FedGrid : Grid {
  explicit FedGrid(const Arguments& a) : Grid(a) {
    const long most = a[NEURONS] > W ? MOST_WIDE_ROWS : MOST_ROWS, share = (a[OUTER] + SHARES - 1) / SHARES;
    const long wanted = share < FEWEST_ROWS ? FEWEST_ROWS : share < most ? share : most, per = columns / period;
    chunk = wanted > per ? wanted / per : 1;
    chunks = (rows + chunk - 1) / chunk;
  }
  long room() const { return chunk * columns; }       // elements of a task's step
  long most_tiles() const { return chunk * blocks; }
};

// The elements of one task, cut into tiles: blocks of lanes of one row after another.
struct Share {
  const FedGrid& g;
  long first, begin, end, tiles;      // first row of the grid; elements [begin, end) of a step
  Share(const FedGrid& g, long task) : g(g) {
    first = task * g.chunk;
    const long last = first + g.chunk < g.rows ? first + g.chunk : g.rows;
    begin = first * g.columns;
    end = last * g.columns < g.size ? last * g.columns : g.size;
    tiles = (last - first) * g.blocks;
  }
  long batch() const { return (end - begin) / g.period; }
  long block(long tile) const { return tile % g.blocks; }
  long base(long tile) const { return (first + tile / g.blocks) * g.columns + block(tile) * W; }
  int width(long tile) const { return g.width(first + tile / g.blocks, block(tile)); }
};

// Zeros are skipped where at most 2 of 5 elements are not zero: counting costs little, and the bits are the same.
// (Measured from 8 x 64 to 1 x 1024: lists win up to 0.4 to 0.5, at 0.1 they take a half to a seventh of the time.)
INLINE bool is_sparse(long nonzeros, long all) { return nonzeros * 5 <= all * 2; }

// The matrix, packed for one of the two products; `mine` where it has been packed for this call alone.
struct Matrices {
  const Matrix<T>* table;
  const T* packed;
  T* mine = nullptr;
  bool finite;
  long N;
  Matrices(const Arguments& a, bool transposed) : table(a.pointer<const Matrix<T>>(MATRIX)), N(a[NEURONS]) {
    packed = a.pointer<const T>(PACKED);
    finite = a[FINITE] != 0;
    if (packed || !table) return;
    const T* weight = a.pointer<const T>(WEIGHT);
    const size_t bytes = sizeof(T) * (size_t)table->packed_size(N, N) + 64;
    packed = mine = (T*)std::aligned_alloc(64, (bytes + 63) / 64 * 64);
    finite = table->pack(weight, transposed ? N : 1, transposed ? 1 : N, N, N, mine, a[THREADS]) != 0;
  }
  ~Matrices() { std::free(mine); }
  Matrices(const Matrices&) = delete;
};

// Memory of one thread, freed with it.
struct Scratch {
  void* at;
  explicit Scratch(size_t bytes) : at(std::aligned_alloc(64, (bytes + 127) / 64 * 64)) {}
  ~Scratch() { std::free(at); }
  Scratch(const Scratch&) = delete;
  template <class P> P* as() const { return (P*)at; }
};

INLINE int team(const Arguments& a, const FedGrid& g) {
  const bool small = g.size * a[STEPS] * a[NEURONS] < ALONE * 16;
  const long most = small ? 1 : a[THREADS];
  return (int)(most < g.chunks ? most : g.chunks);
}

INLINE void load_all(Params* params, const Arguments& a, const Grid& g) {
  for (long block = 0; block < g.blocks; block++) params[block].load(a, g, block);
}

}  // namespace tt
