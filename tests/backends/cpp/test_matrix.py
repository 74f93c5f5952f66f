"""The matrix library: one order of sums, whatever computes it; inf and NaN; gradients; what generated code calls."""

import ctypes

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tracetorch.backends.cpp import build, matrix
from tracetorch.backends.cpp.matrix import Lists, Packed

pytestmark = pytest.mark.skipif(matrix.why_not() is not None, reason=str(matrix.why_not()))

shapes = st.tuples(st.integers(1, 70), st.integers(1, 90), st.integers(1, 300))
densities = st.sampled_from([0.0, 0.03, 0.3, 1.0])
threads = st.integers(1, 3)


def numbers(M, K, N, density=1.0, seed=0):
    """x [M, K] with zeros, W [N, K], bias [N], g [M, N]."""
    torch.manual_seed(seed)
    x = torch.randn(M, K) * (torch.rand(M, K) < density)
    return x, torch.randn(N, K), torch.randn(N), torch.randn(M, N)


def same(a, b):
    """Equal bit for bit, signs of zeros and NaN included."""
    return torch.equal(a.view(torch.int32), b.view(torch.int32))


def by_hand(x, w, start):
    """start + x[0] w[0] + x[1] w[1] ..., each product exact and each sum rounded once to float32: a chain of FMAs."""
    x, w = (np.asarray(t, dtype=np.longdouble) for t in (x, w))
    s = np.broadcast_to(np.asarray(start, dtype=np.float32), (x.shape[0], w.shape[0]))
    for k in range(x.shape[1]):
        s = (x[:, k, None] * w[None, :, k] + s.astype(np.longdouble)).astype(np.float32)
    return torch.tensor(s + np.float32(0))


def eighths(*tensors):
    """The numbers rounded so that sums of their products are exact in float32, in whatever order."""
    return [(8 * t).round() / 8 for t in tensors]


@pytest.mark.parametrize("shape", [(5, 33, 17), (13, 70, 100), (1, 40, 300), (64, 257, 20)], ids=str)
@pytest.mark.parametrize("density", [0.2, 1.0])
def test_bias_then_ascending_k_one_fma_after_another(shape, density):
    x, w, b, _ = numbers(*shape, density)
    packed = Packed().update(w, 2)
    assert same(matrix.product(x, packed, len(w), b, 2), by_hand(x, w, b))
    assert same(matrix.product(x, packed, len(w), None, 2), by_hand(x, w, np.zeros(1)))


@settings(max_examples=40, deadline=None)
@given(shapes, densities, threads, st.integers(0, 99), st.booleans())
def test_every_way_gives_the_same_bits(shape, density, threads, seed, bias):
    x, w, b, _ = numbers(*shape, density, seed)
    N, b = len(w), b if bias else None
    x[x > 1.5] = -0.0
    packed = Packed().update(w, threads)
    y = matrix.product(x, packed, N, b, threads)
    skipped, lists = matrix.product_skipping(x, packed, N, b, threads)
    assert same(y, skipped)
    assert torch.equal(lists.dense(), x)
    row = seed % len(x)
    assert same(y[row : row + 1], matrix.product(x[row : row + 1], packed, N, b, 1))
    assert same(y[:row], matrix.product(x[:row], packed, N, b, 1))
    assert same(y, by_hand(x, w, np.zeros(1) if b is None else b))


def test_zeros_have_no_sign():
    """A sum that underflows to -0 would become +0 by adding 0 * 1, and stay -0 where that is skipped."""
    x, w = torch.tensor([[1e-30, 0.0], [0.0, 0.0]]), torch.tensor([[-1e-30, 1.0]])
    packed = Packed().update(w, 1)
    for bias in (None, torch.tensor([-0.0])):
        assert same(matrix.product(x, packed, 1, bias, 1), torch.zeros(2, 1))
        assert same(matrix.product_skipping(x, packed, 1, bias, 1)[0], torch.zeros(2, 1))


@settings(max_examples=30, deadline=None)
@given(st.tuples(st.integers(1, 500), st.integers(1, 70), st.integers(1, 90)), densities, threads, st.integers(0, 99))
def test_weight_gradient_is_the_same_from_lists(shape, density, threads, seed):
    x, _, _, g = numbers(*shape, density, seed)
    dense = matrix.weight_gradient(x, g, threads)
    assert same(dense, matrix.weight_gradient(Lists.of(x, threads), g, threads))
    assert same(dense, matrix.weight_gradient(x, g, 1))
    x, g = eighths(x, g)
    assert torch.equal(matrix.weight_gradient(x, g, threads), g.T @ x)


def test_long_and_wide():
    """More columns than a row of registers, more of k than a block, more rows than a sum."""
    x, w, b, g = numbers(100, 2100, 700, 0.05)
    packed = Packed().update(w, 2)
    y = matrix.product(x, packed, 700, b, 2)
    assert same(y, matrix.product_skipping(x, packed, 700, b, 2)[0])
    assert same(y[3:4], matrix.product(x[3:4], packed, 700, b, 1))
    assert same(matrix.weight_gradient(x, g, 2), matrix.weight_gradient(Lists.of(x, 2), g, 2))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 16), st.integers(1, 150), st.integers(1, 150), threads, st.integers(0, 99),
       st.tuples(st.booleans(), st.booleans(), st.booleans()))
def test_gradients_of_few_rows_have_the_same_bits(M, K, N, threads, seed, needs):
    x, w, _, g = numbers(M, K, N, 0.3, seed)
    gx, gw, gb = matrix.gradients(g, x, w, needs, threads)
    assert [t is not None for t in (gx, gw, gb)] == list(needs)
    turned = Packed(transposed=True).update(w, threads)
    assert gx is None or same(gx, matrix.product(g, turned, K, None, threads))
    assert gw is None or same(gw, matrix.weight_gradient(x, g, threads))
    if gb is not None:
        (g,) = eighths(g)
        assert torch.equal(matrix.gradients(g, x, w, needs, threads)[2], g.sum(0))


@pytest.mark.parametrize("density", [0.05, 1.0])
def test_weight_gradient_errs_no_more_than_the_blas(density):
    x, _, _, g = numbers(6400, 64, 32, density)
    exact = g.double().T @ x.double()

    def error(dw):
        return (dw - exact).square().mean().sqrt()
    assert error(matrix.weight_gradient(x, g, 2)) < 1.15 * error(g.T @ x)


def narrow_library():
    """The library as it is for a processor without AVX-512."""
    return matrix.declared(build.load("#define TT_AVX2\n" + matrix.TEXT.read_text()))


def test_narrow_vectors_give_the_same_bits(monkeypatch):
    cases = []
    for shape, density in (((70, 90, 300), 0.1), ((7, 33, 20), 1.0), ((300, 65, 40), 0.3)):
        x, w, b, g = numbers(*shape, density)
        packed = Packed().update(w, 2)
        cases.append((x, w, b, g, matrix.product(x, packed, len(w), b, 2), matrix.weight_gradient(x, g, 2)))
    narrow = narrow_library()
    assert narrow.matrix_lanes() == 8
    monkeypatch.setattr(matrix, "library", lambda: narrow)
    for x, w, b, g, y, dw in cases:
        packed = Packed().update(w, 2)
        assert same(y, matrix.product(x, packed, len(w), b, 2))
        assert same(y, matrix.product_skipping(x, packed, len(w), b, 2)[0])
        assert same(y[:2], matrix.product(x[:2], packed, len(w), b, 2))
        assert same(dw, matrix.weight_gradient(x, g, 2))
        assert same(dw, matrix.weight_gradient(Lists.of(x, 2), g, 2))


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_what_is_not_finite_is_seen(value):
    x, w, b, _ = numbers(20, 70, 33, 0.2)
    packed = Packed().update(w, 2)
    assert packed.finite and matrix.finite(x, 2)
    w[32, 69] = value
    assert not packed.update(w, 2).finite
    x[4, 3] = value
    assert not matrix.finite(x, 1)
    assert 4 in Lists.of(x, 1).ends.diff().nonzero() and x[4, 3].ne(0)
    w[32, 69] = 1
    y = matrix.product_skipping(x, packed.update(w, 2), 33, b, 2)[0]
    assert not y[4].isfinite().any() and y[[3, 5]].isfinite().all()


def test_packed_again_where_one_bit_has_changed():
    w = torch.randn(33, 70)
    packed = Packed().update(w, 1)
    torch.manual_seed(0)
    for place in torch.randint(w.numel(), (50,)).tolist():
        x = torch.zeros(1, 70)
        x[0, place % 70] = 1
        bits = w.view(-1).view(torch.int32)
        bits[place] ^= 1 << place % 20
        assert same(matrix.product(x, packed.update(w, 1), 33, None, 1), w[None, :, place % 70].contiguous())


def test_swapped_numbers_are_a_change():
    w = torch.randn(40, 64)
    packed = Packed().update(w, 1)
    x = torch.eye(64)
    for i, j in ((0, 1), (0, 39), (3, 20)):
        w[[i, j]] = w[[j, i]]
        assert same(matrix.product(x, packed.update(w, 1), 40, None, 1), w.T.contiguous())


@pytest.mark.parametrize("M", [1, 63, 64, 257, 1024, 6400])
def test_density_is_sampled_by_a_prime_stride(M):
    """Of a folded batch every element is seen: a sample of every 16th row of 64 saw always the same four."""
    x = torch.zeros(M, 10)
    assert matrix.density(x) == 0
    x[:, :3] = 1
    assert matrix.density(x) == pytest.approx(0.3)
    if M == 6400:
        x = torch.zeros(100, 64, 10)
        x[:, 5] = 1
        assert 0 < matrix.density(x.view(M, 10)) < 0.04


CALLER = """
#include "matrix/matrix.h"
template <class T> static void run(const tt::Matrix<T>* m, const T* a, const T* w, const T* start, const T* add, T* out,
                                   int64_t rows, int64_t K, int64_t N, T* packed, int32_t* places, T* values) {
  m->pack(w, 1, K, K, N, packed, 1);
  const tt::Rows<T> dense{start, 0, add, N, out, N}, skipping{start, 0, add, N, out + rows * N, N};
  m->product(a, K, rows, packed, K, N, &dense);
  m->skipping(a, K, rows, packed, K, N, &skipping, places, values);
  out[2 * rows * N] = (T)m->nonzeros(a, rows * K);
}
extern "C" void single(const void* m, const float* a, const float* w, const float* s, const float* d, float* out,
                       int64_t r, int64_t K, int64_t N, float* p, int32_t* at, float* v) {
  run((const tt::Matrix<float>*)m, a, w, s, d, out, r, K, N, p, at, v);
}
extern "C" void twice(const void* m, const double* a, const double* w, const double* s, const double* d, double* out,
                      int64_t r, int64_t K, int64_t N, double* p, int32_t* at, double* v) {
  run((const tt::Matrix<double>*)m, a, w, s, d, out, r, K, N, p, at, v);
}
"""


@pytest.mark.parametrize("K", [50, 1100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_generated_code_calls_the_table(dtype, K):
    (x, w, start, add), rows, N = numbers(9, K, 37, 0.3), 9, 37
    if dtype is torch.float64:      # where no wider type is at hand to work out what one rounding after another gives
        x, w, start, add = (t.double() for t in eighths(x, w, start, add))
    out, places = torch.full((2 * rows * N + 1,), torch.nan, dtype=dtype), torch.empty(K, dtype=torch.int32)
    buffer, values = torch.empty(48 * K + 16, dtype=dtype), torch.empty(K, dtype=dtype)
    aligned = (buffer.data_ptr() + 63) // 64 * 64
    call = getattr(build.load(CALLER), "single" if dtype is torch.float32 else "twice")
    call.argtypes = [ctypes.c_void_p] * 6 + [ctypes.c_int64] * 3 + [ctypes.c_void_p] * 3
    call(matrix.table(dtype), *(t.data_ptr() for t in (x, w, start, add, out)), rows, K, N, aligned, places.data_ptr(),
         values.data_ptr())
    dense, skipping = out[:-1].view(2, rows, N)
    assert torch.equal(dense, skipping)
    assert out[-1] == x.count_nonzero()
    if dtype is torch.float32:
        assert same(dense, by_hand(x, w, start) + add)
    else:
        assert torch.equal(dense, x @ w.T + start + add)


def test_no_library_without_a_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(matrix, "library", lambda: build.load("no text"))
    matrix._why_not.cache_clear()
    try:
        assert matrix.why_not() == build.NO_COMPILER
    finally:
        matrix._why_not.cache_clear()
