"""Data parallel training: torchrun --standalone --nproc-per-node 2 data_parallel.py"""

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import tracetorch as tt


class Classifier(nn.Module):
    """A spiking network over a sequence: [time, batch, 16] -> [batch, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(16, 32), tt.snn.LIB(32),
                                 nn.Linear(32, 4), tt.snn.LI(4))

    def forward(self, x):
        return tt.scan(self.net, x).mean(0)


def data(steps=20, batch=8):
    """The same sequences and labels in every process."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(steps, batch, 16, generator=generator)
    return x, torch.randint(4, (batch,), generator=generator)


def main() -> None:
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = DistributedDataParallel(Classifier())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    x, labels = data()
    mine = slice(rank * len(labels) // world, (rank + 1) * len(labels) // world)

    losses = []
    for _ in range(5):
        tt.zero_states(model.module)
        loss = nn.functional.cross_entropy(model(x[:, mine]), labels[mine])
        optimizer.zero_grad()
        loss.backward()
        if not losses:
            check_gradient(model.module, x, labels)
        optimizer.step()
        losses.append(loss.item())
    if rank == 0:
        print(f"{world} processes, loss {losses[0]:.3f} -> {losses[-1]:.3f}")
    dist.destroy_process_group()


def check_gradient(model, x, labels) -> None:
    """Compare the averaged gradient with that of the whole batch."""
    alone = Classifier()
    alone.load_state_dict(model.state_dict())
    nn.functional.cross_entropy(alone(x), labels).backward()
    for averaged, whole in zip(model.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(averaged.grad, whole.grad)


if __name__ == "__main__":
    main()
