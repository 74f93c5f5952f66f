"""Draws: Philox against its published vectors, the counter's layout, statistics at 4 sigma, repeatability."""

import threading

import pytest
import torch

import tracetorch.functional as F
from tests.support.tracing import operators
from tracetorch.functional.random import Stream, TracingStream, current_stream, new_key, philox, to_unit

VECTORS = [  # Random123, kat_vectors: philox4x32 10
    ((0, 0), (0, 0, 0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 4, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0xA4093822, 0x299F31D0),
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def key(seed, position=0):
    return torch.tensor([seed, position])


def draw(seed, position=0, shape=(64,), count=1, dtype=torch.float32):
    with Stream(key(seed, position), shape):
        draws = [F.uniform(torch.empty((), dtype=dtype)) for _ in range(count)]
    return draws[0] if count == 1 else torch.stack(draws)


@pytest.mark.parametrize(("seed", "counter", "words"), VECTORS)
def test_philox_gives_the_published_words(seed, counter, words):
    got = philox([torch.tensor([k]) for k in seed], [torch.tensor([c]) for c in counter])
    assert tuple(int(word) for word in got) == words


def test_the_counter_is_element_position_draw():
    seed, position = 0x299F31D0A4093822, 0x1_85A308D3
    got = draw(seed, position, shape=(5, 7), count=3)
    for number in range(3):
        for index in (0, 11, 34):
            counter = (index, 0x85A308D3, number, 0)
            word = philox([torch.tensor(0xA4093822), torch.tensor(0x299F31D0)], [torch.tensor(c) for c in counter])[0]
            assert got[number].flatten()[index] == to_unit(word, torch.float32)


def test_unit_interval_at_its_ends():
    words = torch.tensor([0, 1, 2**31 - 1, 2**31, 2**32 - 1])
    top = float(torch.tensor(2.0**31) * torch.tensor(4.6566127342e-10))
    assert to_unit(words, torch.float32).tolist() == [0.0, pytest.approx(2**-31, rel=1e-6), top, top, 0.0]
    assert top < 1
    for low in (torch.float16, torch.bfloat16):
        assert to_unit(words, low).max() < 1


def test_dtypes_share_their_draws():
    single = draw(3)
    assert torch.equal(draw(3, dtype=torch.float64), single.double())
    assert draw(3, dtype=torch.bfloat16).dtype == torch.bfloat16


def test_position_and_count_tell_steps_and_draws_apart():
    first = draw(3, 0, count=2)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], draw(3, 1))
    assert not torch.equal(first[0], draw(4, 0))
    assert torch.equal(first, draw(3, 0, count=2))


def test_draws_have_the_shape_of_the_step():
    with Stream(key(1), (3, 4)):
        assert F.uniform(torch.zeros(4)).shape == (3, 4)
    assert F.uniform(torch.zeros(4)).shape == (4,)


def test_a_lazy_key_is_made_at_the_first_draw_only():
    made = []

    def make():
        made.append(key(5))
        return made[-1]

    with Stream(make, (64,)) as stream:
        assert not made and stream.draws == 0
        F.uniform(torch.zeros(64))
        second = F.uniform(torch.zeros(64))
    assert len(made) == 1 and stream.draws == 2
    assert torch.equal(second, draw(5, count=2)[1])


def test_streams_nest_and_end_with_their_block_even_on_errors():
    assert current_stream() is None
    with Stream(key(1), (4,)) as outer:
        with pytest.raises(RuntimeError, match="inside"), Stream(key(2), (4,)):
            raise RuntimeError("inside")
        assert current_stream() is outer
    assert current_stream() is None


def test_other_threads_do_not_see_the_stream():
    seen = []
    with Stream(key(1), (4,)):
        thread = threading.Thread(target=lambda: seen.append(current_stream()))
        thread.start()
        thread.join()
    assert seen == [None]


def test_mean_and_variance():
    n = 2**18
    u = draw(new_key()[0].item(), shape=(n,), dtype=torch.float64)
    assert abs(u.mean() - 1 / 2) < 4 * (1 / 12 / n) ** 0.5
    assert abs(u.var() - 1 / 12) < 4 * (1 / 180 / n) ** 0.5
    counts = torch.histc(u.float(), 64, 0, 1)
    chi2 = ((counts - n / 64) ** 2 / (n / 64)).sum()
    assert abs(chi2 - 63) < 4 * (2 * 63) ** 0.5


@pytest.mark.parametrize("lag", ["neurons", "steps", "draws", "seeds"])
def test_independent_across(lag):
    n = 2**16
    a = draw(7, 0, shape=(n,), dtype=torch.float64)
    b = {
        "neurons": lambda: a.roll(1),
        "steps": lambda: draw(7, 1, shape=(n,), dtype=torch.float64),
        "draws": lambda: draw(7, 0, shape=(n,), count=2, dtype=torch.float64)[1],
        "seeds": lambda: draw(8, 0, shape=(n,), dtype=torch.float64),
    }[lag]()
    correlation = (12 * (a - 0.5) * (b - 0.5)).mean()
    assert abs(correlation) < 4 / n**0.5


def test_manual_seed_repeats_keys_and_each_key_is_new():
    torch.manual_seed(11)
    first, second = new_key(), new_key()
    torch.manual_seed(11)
    assert torch.equal(new_key(), first) and not torch.equal(first, second)
    assert first.dtype == torch.int64 and first.shape == (2,) and first[0] >= 0 and first[1] == 0


def test_each_rank_draws_from_its_own_key():
    from torch.testing._internal.distributed.fake_pg import FakeStore

    keys = []
    for rank in (0, 1, 2):
        torch.distributed.init_process_group("fake", store=FakeStore(), rank=rank, world_size=3)
        try:
            torch.manual_seed(0)
            keys.append(new_key()[0].item())
        finally:
            torch.distributed.destroy_process_group()
    torch.manual_seed(0)
    assert keys[0] == new_key()[0].item()
    assert len(set(keys)) == 3 and min(keys) >= 0


def test_tracing_numbers_the_draws():
    from torch.fx.experimental.proxy_tensor import make_fx

    with TracingStream() as stream:
        graph = make_fx(lambda x: F.uniform(x) + F.uniform(x))(torch.rand(4, requires_grad=True))
    draws = [node for node in graph.graph.nodes if node.target is torch.ops.tracetorch.draw.default]
    assert [node.args[1] for node in draws] == [0, 1] and stream.draws == 2
    assert torch.ops.aten.rand_like.default not in operators(graph)


def test_compiles_to_the_same_draws():
    def step(x, key):
        with Stream(key, x.shape):
            return F.uniform(x) * x + F.uniform(x)

    x, stream_key = torch.rand(3, 5), new_key()
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x, stream_key), step(x, stream_key))
