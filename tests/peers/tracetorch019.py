"""The rows of traceTorch 0.19: the old library runs in a process of its own, since it has our name."""

import functools
import io
import os
import subprocess
import sys
import textwrap
import warnings

import matplotlib
import pytest
import torch
from torch import nn

import tracetorch as tt
from benchmarks.measure import REFERENCE, prepare_reference
from tracetorch import plot

from .page import N
from .words import word

OLD = "traceTorch 0.19"
matplotlib.use("agg")


@functools.cache
def there(body):
    """Run code in traceTorch 0.19.2 and return what it puts into `result`."""
    prepare_reference()
    code = f"""
import io, sys
import torch, tracetorch as tt
from torch import nn
from tracetorch import snn
torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
{textwrap.dedent(body)}
file = io.BytesIO()
torch.save(result, file)
sys.stdout.buffer.write(file.getvalue())
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], stdout=subprocess.PIPE, check=True,
                          env={**os.environ, "PYTHONPATH": str(REFERENCE), "MPLBACKEND": "agg"}, cwd=REFERENCE)
    return torch.load(io.BytesIO(done.stdout), weights_only=True)


NET = """
class Mine(tt.snn.Layer):
    def __init__(self, n):
        super().__init__(n)
        self._initialize_state("mem")
        self._register_decay("beta", 0.7, 1, True)

    def forward(self, x):
        self._ensure_states(x)
        self.mem = self.beta * self.mem + x
        return self.mem


class Net(tt.Model):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(16, 16), snn.SLIB(16), snn.DLIT(16))
        self.hidden = [Mine(16)]
        self.by_name, self.pair = {"a": snn.LI(16)}, (snn.LI(16), 1.0)

    def forward(self, x):
        return self.pair[0](self.by_name["a"](self.hidden[0](self.net(x))))
"""


def run():
    """What the old library computes, keeps and stores."""
    return there(NET + """
net, x = Net(), torch.rand(40, 3, 16)
first = torch.stack([net(x_t) for x_t in x[:20]])
states = net.save_states()
y = torch.cat([first, torch.stack([net(x_t) for x_t in x[20:]])])
net.zero_states()
result = dict(x=x, y=y.detach(), states=states, zeroed=net.save_states(), stored=net.state_dict())
""")


def here():
    """The same model in this library, by the same words, and with the parameters of the other one."""
    names = {"tt": tt, "snn": tt.snn, "nn": nn}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(NET, names)
        net = names["Net"]()
    net.load_state_dict(run()["stored"])
    return net


def close(got, want):
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


@word(OLD, "a loop over time")
def loops(page):
    old = run()
    close(torch.stack([net(x_t) for net in (here(),) for x_t in old["x"]]).detach(), old["y"])
    close(tt.scan(here(), old["x"]).detach(), old["y"])


@word(OLD, "a layer of your own, subclassing `snn.Layer`")
def layers_of_your_own(page):
    loops(page)         # `Mine` is one
    assert type(here().hidden[0]).__bases__ == (tt.snn.Layer,)


@word(OLD, "`_initialize_state(state_name=)`, `_ensure_states(reference_tensor=)`")
def old_keywords_of_layers(page):
    layer = tt.snn.Layer(N)
    with pytest.warns(DeprecationWarning, match="name="):
        layer._initialize_state(state_name="mem")
    with pytest.warns(DeprecationWarning, match="x="):
        layer._ensure_states(reference_tensor=torch.rand(3, N))
    assert layer.mem.shape == (3, N)


@word(OLD, "`_zero_state`, `_detach_state`, `_ensure_state`")
def methods_of_layers(page):
    layer = tt.snn.Layer(N)
    layer._initialize_state("mem")
    layer._ensure_state("mem", torch.rand(3, N))
    layer.mem = layer.mem + torch.ones(3, N, requires_grad=True)
    layer._detach_state("mem")
    assert not layer.mem.requires_grad and layer.mem.eq(1).all()
    layer._zero_state("mem")
    assert layer.mem is None


@word(OLD, "`halflife_to_decay(num_steps=)`, `timesteps_to_decay(time=)`")
def old_keywords_of_functions(page):
    old = there("""
from tracetorch.functional import halflife_to_decay, timesteps_to_decay
result = torch.tensor([float(halflife_to_decay(num_steps=7.0)), float(timesteps_to_decay(time=7.0))])
""")
    with pytest.warns(DeprecationWarning, match="num_steps= is called halflife="):
        assert tt.functional.halflife_to_decay(num_steps=7.0) == pytest.approx(old[0].item())
    with pytest.warns(DeprecationWarning, match="time= is called timesteps="):
        assert tt.functional.timesteps_to_decay(time=7.0) == pytest.approx(old[1].item())


@word(OLD, '`torch.load("states.pt")`, saved there')
def saved_states(page):
    old, net = run(), here()
    assert any("_modules[" in name for name in old["states"])
    net.load_states(old["states"])
    assert len(net.save_states()) == 7
    close(tt.scan(net, old["x"][20:]).detach(), old["y"][20:])


@word(OLD, "layers in a list, tuple or dict of a `tt.Model`")
def plain_containers(page):
    old, net = run(), here()
    assert old["zeroed"] == {} and "hidden" not in "".join(old["stored"])
    tt.scan(net, old["x"])
    with pytest.warns(UserWarning, match="their parameters are not part of the model"):
        assert {"hidden[0].mem", "by_name[a].mem", "pair[0].mem"} < set(net.save_states())
    net.zero_states()
    assert net.save_states() == {} and net.hidden[0].mem is None
    assert not any("hidden" in name for name in net.state_dict())


@word(OLD, '`tt.core.Layer`, `tt.core.Model`, `model._call_recursive("zero_states")`')
def names_of_base_classes(page):
    assert there("result = [tt.core.Layer is tt.Layer, tt.core.Model is tt.Model]") == [True, True]
    net = here()
    net(torch.rand(3, 16))
    assert tt.save_states(net)
    tt.zero_states(net)
    assert not tt.save_states(net) and isinstance(net, tt.Model) and isinstance(net.net[1], tt.Layer)


@word(OLD, "`assert` in the constructor")
def errors_of_constructors(page):
    assert there("""
try:
    snn.LIB(4, beta=1.5)
except AssertionError:
    result = True
""")
    with pytest.raises(ValueError, match="beta must be a decay between 0 and 1"):
        tt.snn.LIB(4, beta=1.5)
    with pytest.raises(TypeError, match="num_neurons must be a whole number"):
        tt.snn.LIB(4.0)


@word(OLD, "an input of width 1, or `num_neurons=1` on more, broadcasts")
def widths(page):
    x = torch.linspace(0.1, 1.5, 3)[:, None]
    old = there("result = snn.LI(4)(torch.linspace(0.1, 1.5, 3)[:, None]).detach()")
    with pytest.raises(ValueError, match="4"):
        tt.snn.LI(4)(x)
    close(tt.snn.LI(4)(x.expand(3, 4)).detach(), old)


@word(OLD, "`plot.spike_train(list_of_spikes, ...)`")
def rasters(page):
    spikes = [torch.rand(4).round() for _ in range(10)]
    there("tt.plot.spike_train([torch.rand(4).round() for _ in range(10)]); result = True")
    ax = plot.raster(torch.stack(spikes))
    assert len(ax.collections) + len(ax.lines) > 0


@word(OLD, "`plot.line_graph(list_of_values, title)`")
def lines(page):
    values = [torch.rand(4) for _ in range(10)]
    there("tt.plot.line_graph([torch.rand(4) for _ in range(10)], 'a'); result = True")
    ax = plot.traces(torch.stack(values), neurons=range(4))
    ax.set_title("a")
    drawn = [line.get_ydata() for line in ax.lines]
    for neuron in torch.stack(values).T:
        assert any(len(y) == 10 and torch.allclose(torch.as_tensor(y), neuron) for y in drawn)


@word(OLD, "`plot.distributions(layers, title)`")
def distributions(page):
    there("tt.plot.distributions([torch.rand(50)], 'a'); result = True")
    (ax,) = plot.distribution(tt.snn.LIB(N, beta=torch.linspace(0.1, 0.9, N)), names=["beta"]).flat
    assert ax.patches
    ax.hist(torch.rand(50))


@word(OLD, "`plot.render_image(images)`")
def images(page):
    there("tt.plot.render_image(torch.rand(2, 1, 4, 4)); result = True")
    matplotlib.figure.Figure().subplots().imshow(torch.rand(4, 4))


@word(OLD, "`plot.MeasurementManager(title)`")
def measurements(page):
    """The old traces are averages of the measurements, one for each decay."""
    values = torch.rand(30)
    old = there("""
manager = tt.plot.MeasurementManager("loss", decay=[0.9])
for value in torch.rand(30).tolist():
    manager.append(value)
manager.plot()
torch.manual_seed(0)
result = [torch.rand(30), torch.stack(manager.measurement).flatten()]
""")
    values, want = old
    smooth = tt.scan(tt.snn.LIEMA(1, beta=0.9), values[:, None]).detach().flatten()
    torch.testing.assert_close(smooth, want.to(smooth.dtype), rtol=0, atol=1e-6)
    matplotlib.figure.Figure().subplots().plot(smooth)


@word(OLD, "`tt.rnn`, `tt.ssm`")
def left_out(page):
    assert there("result = [hasattr(tt, name) for name in ('rnn', 'ssm')]") == [True, True]
    assert not hasattr(tt, "rnn") and not hasattr(tt, "ssm")
