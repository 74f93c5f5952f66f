"""Data-parallel training in two processes, and in one."""

import multiprocessing

import torch
from torch import nn

import tracetorch as tt
from tests.support.rounding import assert_as_right, nearby

X = torch.randn(6, 4, 5, generator=torch.Generator().manual_seed(1))


def model_on(device):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6), tt.snn.SLIB(6), tt.Feedback(tt.snn.LIB(6), nn.Linear(6, 6))).to(device)


def gradients(model, x, backend, device):
    tt.scan(model, x.to(device), backend=backend).square().mean().backward()
    return [p.grad.cpu() for p in model.parameters()]


def train_rank(rank, path, queue, backend, device):
    torch.distributed.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    model = nn.parallel.DistributedDataParallel(model_on(device))
    queue.put([g.numpy() for g in gradients(model, X[:, rank * 2 : rank * 2 + 2], backend, device)])
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def check_two_processes_have_the_gradients_of_one(path, backend, device):
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    ranks = [context.Process(target=train_rank, args=(r, path, queue, backend, device)) for r in range(2)]
    for rank in ranks:
        rank.start()
    found = [[torch.from_numpy(g) for g in queue.get()] for _ in ranks]
    for rank in ranks:
        rank.join(60)
    references = [gradients(model, x, "eager", "cpu") for model, x in nearby(model_on("cpu"), X)]
    exact = gradients(model_on("cpu").double(), X.double(), "eager", "cpu")
    for got in found:
        assert_as_right(got, references, exact)
