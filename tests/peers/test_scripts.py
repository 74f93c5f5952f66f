"""Short scripts as the libraries' tutorials have them, and the same scripts after the page was followed."""

import pytest
import snntorch as snn
import torch
from norse import torch as norse
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss, one_hot

import tracetorch as tt

pytestmark = pytest.mark.filterwarnings("ignore")


def trained(net, run, loss_of):
    """Train for ten steps; return all outputs and the losses."""
    optimizer, outputs, losses = torch.optim.Adam(net.parameters(), lr=1e-3), [], []
    for _ in range(10):
        y, judged = run()
        loss = loss_of(judged)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        outputs.append(y)
        losses.append(loss.item())
    return outputs, losses


class SnnNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(64, 100), snn.Leaky(beta=0.95)
        self.fc2, self.lif2 = nn.Linear(100, 10), snn.Leaky(beta=0.95)

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spikes, membranes = [], []
        for x_t in x:
            spk1, mem1 = self.lif1(self.fc1(x_t), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
            membranes.append(mem2)
        return torch.stack(spikes), torch.stack(membranes)


def snntorch_there(page, x, target):
    net = SnnNet()
    return trained(net, lambda: net(x), lambda mem: sum(cross_entropy(m, target) for m in mem))


def snntorch_here(page, x, target):
    fixed = dict(learn_beta=False, learn_threshold=False)
    net = nn.Sequential(nn.Linear(64, 100), page["LateLeaky"](100, beta=0.95, **fixed),
                        nn.Linear(100, 10), page["LateLeaky"](10, beta=0.95, **fixed))

    def run():
        tt.zero_states(net)
        y, recorded = tt.scan(net, x, record="mem")
        return y, recorded["3.mem"]

    return trained(net, run, lambda mem: sum(cross_entropy(m, target) for m in mem))


def norse_there(page, x, target):
    net = norse.SequentialState(nn.Linear(64, 100), norse.LIFCell(), nn.Linear(100, 10), norse.LIFCell())

    def run():
        state, outputs = None, []
        for x_t in x:
            y, state = net(x_t, state)
            outputs.append(y.to_dense())
        return torch.stack(outputs), torch.stack(outputs).sum(0)

    return trained(net, run, lambda counts: cross_entropy(counts, target))


def norse_here(page, x, target):
    fixed = dict(learn_alpha=False, learn_beta=False, learn_threshold=False)
    net = nn.Sequential(nn.Linear(64, 100), page["NorseLIF"](100, **fixed),
                        nn.Linear(100, 10), page["NorseLIF"](10, **fixed))

    def run():
        tt.zero_states(net)
        y = tt.scan(net, x)
        return y, y.sum(0)

    return trained(net, run, lambda counts: cross_entropy(counts, target))


def spikingjelly_there(page, x, target):
    net = nn.Sequential(layer.Linear(64, 100), neuron.LIFNode(tau=2.0, surrogate_function=surrogate.ATan()),
                        layer.Linear(100, 10), neuron.LIFNode(tau=2.0, surrogate_function=surrogate.ATan()))
    functional.set_step_mode(net, "m")

    def run():
        functional.reset_net(net)
        y = net(x)
        return y, y.mean(0)

    return trained(net, run, lambda rates: mse_loss(rates, one_hot(target, 10).float()))


def spikingjelly_here(page, x, target):
    fixed = dict(learn_beta=False, spike_fn=tt.functional.Arctan(1.0, learn_alpha=False))
    net = nn.Sequential(nn.Linear(64, 100), page["LIFNode"](100, beta=1 - 1 / 2.0, **fixed),
                        nn.Linear(100, 10), page["LIFNode"](10, beta=1 - 1 / 2.0, **fixed))

    def run():
        tt.zero_states(net)
        y = tt.scan(net, x)
        return y, y.mean(0)

    return trained(net, run, lambda rates: mse_loss(rates, one_hot(target, 10).float()))


SCRIPTS = {"snnTorch": (snntorch_there, snntorch_here, 1.0), "Norse": (norse_there, norse_here, 8.0),
           "SpikingJelly": (spikingjelly_there, spikingjelly_here, 8.0)}


@pytest.mark.parametrize("library", SCRIPTS)
def test_script(library, page):
    """The same spikes, in float32, and ten steps of training that go the same way, but for what rounding tips over."""
    there, here, scale = SCRIPTS[library]
    x, target = (scale * torch.rand(32, 64)).expand(25, 32, 64), torch.randint(0, 10, (32,))
    outcomes = []
    for script in (there, here):
        torch.manual_seed(0)
        outcomes.append(script(page, x, target))
    (want, wanted), (got, losses) = outcomes
    assert want[-1].count_nonzero() > 50 and wanted[-1] < wanted[0]
    assert torch.equal(got[0], want[0])
    assert losses == pytest.approx(wanted, rel=1e-3)
