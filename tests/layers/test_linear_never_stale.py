"""tt.Linear sees every change of its weight, and shares it with other modules and threads."""

import threading

import pytest
import torch
from torch import nn

import tracetorch as tt
from tests.support.linear import equal, pair, run, spikes
from tracetorch.backends.cpp import matrix

pytestmark = pytest.mark.skipif(matrix.why_not() is not None, reason=str(matrix.why_not()))


def through_data(linear):
    linear.weight.data.mul_(2)


def through_numpy(linear):
    linear.weight.detach().numpy()[0, 0] += 1


def optimiser_step(linear):
    linear.weight.grad = torch.ones_like(linear.weight)
    torch.optim.SGD([linear.weight], 0.1).step()


def fused_step(linear):
    linear.weight.grad = torch.ones_like(linear.weight)
    torch.optim.AdamW([linear.weight], 0.1, fused=True).step()


def loading(linear):
    linear.load_state_dict(nn.Linear(70, 33).state_dict())


def assigning(linear):
    linear.load_state_dict(nn.Linear(70, 33).state_dict(), assign=True)


def copying(linear):
    with torch.no_grad():
        linear.weight.copy_(torch.randn(33, 70))


def setting_data(linear):
    linear.weight.data = torch.randn(33, 70)


def shared_storage(linear):
    torch.tensor([], dtype=torch.float32).set_(linear.weight.untyped_storage(), 0, (33 * 70,))[-1] += 1


def moving_average(linear):
    average = torch.optim.swa_utils.AveragedModel(linear, avg_fn=lambda a, b, n: a + b)
    average.update_parameters(linear)
    average.update_parameters(linear)
    linear.weight.data.copy_(average.module.weight.data)


def new_parameter(linear):
    del linear.weight
    linear.weight = nn.Parameter(torch.randn(33, 70))


CHANGES = (through_data, through_numpy, optimiser_step, fused_step, loading, assigning, copying, setting_data,
           shared_storage, moving_average, new_parameter)


@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("rows", [2, 300])
def test_never_stale(change, rows):
    _, ours = pair()
    x = spikes(rows, 70, rate=1.0)
    for _ in range(3):
        before = run(ours, x)
    change(ours)
    fresh = tt.Linear(70, 33)
    fresh.load_state_dict(ours.state_dict())
    after = run(ours, x)
    assert equal(after, run(fresh, x))
    assert not torch.equal(after[0], before[0]) and not torch.equal(after[1], before[1])


def test_backward_refuses_a_weight_that_changed_since_forward():
    _, ours = pair()
    y = ours(spikes(3, 70).requires_grad_())
    with torch.no_grad():
        ours.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_two_modules_and_two_threads_share_a_weight():
    _, one = pair(200, 200)
    other = tt.Linear(200, 200)
    other.weight, other.bias = one.weight, one.bias
    x = spikes(500, 200)
    expected = one(x).detach()
    assert torch.equal(other(x), expected)
    bad = []

    def work(linear):
        for _ in range(30):
            with torch.no_grad():
                if not torch.equal(linear(x), expected):
                    bad.append(linear)
    workers = [threading.Thread(target=work, args=(linear,)) for linear in (one, one, other)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not bad


def test_a_workspace_in_use_is_left_alone():
    """Another thread may be reading the packed weight."""
    _, ours = pair()
    x = spikes(4, 70)
    run(ours, x)
    packed = [ours._workspace.forward._buffer, ours._workspace.backward._buffer]
    before = [p.clone() for p in packed]
    with ours._workspace.lock:
        ours.weight.data.mul_(2)
        fresh = tt.Linear(70, 33)
        fresh.load_state_dict(ours.state_dict())
        assert equal(run(ours, x), run(fresh, x))
    assert equal(packed, before)
