"""Learning from long streams: gradients stop at the cut, values don't, and memory stays flat."""

import gc

import torch
from torch import nn

import tracetorch as tt


def network(dtype=torch.float64):
    return nn.Sequential(nn.Linear(4, 6), tt.snn.SLIB(6), nn.Linear(6, 2), tt.snn.LI(2)).to(dtype)


def gradients(model):
    found = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    return found


def test_detaching_keeps_values():
    model, x = network(), torch.rand(12, 3, 4, dtype=torch.float64)
    whole = tt.scan(model, x)
    tt.zero_states(model)
    parts = []
    for chunk in x.split(5):
        parts.append(tt.scan(model, chunk))
        tt.detach_states(model)
    torch.testing.assert_close(torch.cat(parts), whole)


def test_chunks_equal_stepping_with_the_same_cuts(backend):
    model, x = network(), torch.rand(12, 3, 4, dtype=torch.float64)
    with tt.backend(backend):
        for chunk in x.split(4):
            tt.scan(model, chunk).sum().backward()
            tt.detach_states(model)
        scanned = gradients(model)
        tt.zero_states(model)
        for chunk in x.split(4):
            sum(model(x_t).sum() for x_t in chunk).backward()
            tt.detach_states(model)
    torch.testing.assert_close(scanned, gradients(model))


def test_a_cut_at_every_step_is_the_gradient_of_single_steps():
    model, x = network(), torch.rand(6, 3, 4, dtype=torch.float64)
    for x_t in x:
        model(x_t).sum().backward()
        tt.detach_states(model)
    online = gradients(model)
    tt.zero_states(model)
    for x_t in x:
        states = tt.save_states(model)
        tt.zero_states(model)
        if states:
            tt.load_states(model, states)
        model(x_t).sum().backward()
    torch.testing.assert_close(online, gradients(model))


def resident():
    """Memory of this process in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_memory_of_a_long_stream_is_flat(backend):
    """A million steps where a fused backend scans them, 2 400 in eager."""
    model = network(torch.float32)
    length = 6 if backend == "eager" else 2500
    x = torch.rand(length, 1, 4)

    def learn(chunks):
        for _ in range(chunks):
            with tt.backend(backend):
                tt.scan(model, x).sum().backward()
            model.zero_grad()
            tt.detach_states(model)
        gc.collect()
        return sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects()), resident()

    tensors, memory = learn(100)
    later_tensors, later_memory = learn(300)
    assert later_tensors <= tensors
    assert later_memory - memory < 2e7
