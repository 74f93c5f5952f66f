"""What must work on every Python and PyTorch, from an installed package.

`tools/versions.sh` runs it in a copy that holds this file and the recorded numbers (`tests/golden` and their reader,
`tests/support/golden.py`) but not the package.
"""

from __future__ import annotations

import io
import os
import pickle
import platform
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn

import tracetorch as tt

BACKENDS = ("eager", "cpp")
RECORDED = ("LI", "LIEMA", "SLIB", "DLIT", "RLIB", "DSRLITS")     # every stage of the recorded neurons is in one
TRACES = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 12)


def model() -> nn.Module:
    """Return a small network that learns."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), tt.snn.SLIB(8), nn.Linear(8, 2), tt.snn.LI(2))


def scan() -> None:
    """Every backend computes what stepping computes, forward and backward."""
    x, found = torch.rand(12, 4, 3), []
    for name in BACKENDS:
        net = model()
        y = tt.scan(net, x, backend=name)
        y.square().sum().backward()
        found.append((y, *[p.grad for p in net.parameters()]))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def by_hand() -> None:
    """Numbers worked by hand: a leak of a half, inputs of 1, no spikes."""
    layer = tt.snn.LI(1, beta=0.5)
    for name in BACKENDS:
        layer.zero_states()
        y = tt.scan(layer, torch.ones(3, 1, 1), backend=name).flatten().detach()
        gain = float(y[0])
        torch.testing.assert_close(y / gain, torch.tensor([1.0, 1.5, 1.75]))


def recorded() -> None:
    """A neuron of each kind against its recorded numbers, forward and backward."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tests.support.golden import CASES, check

    cases = {case["class"]: case for case in CASES if case["scenario"] == "a_default"}
    for name in BACKENDS:
        for neuron in RECORDED:
            with tt.backend(name):
                check(cases[neuron], torch.float32, tt.scan)


def train() -> None:
    """Ten steps of gradient descent reduce the loss."""
    net, x = model(), torch.rand(12, 4, 3)
    optimizer, losses = torch.optim.Adam(net.parameters(), 0.05), []
    for _ in range(10):
        tt.zero_states(net)
        loss = (tt.scan(net, x)[-1] - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < losses[0], losses


def compiled() -> None:
    """torch.compile of a whole scan: without a graph break from PyTorch 2.12 on, refused before, but for a break."""
    net, x = model(), torch.rand(12, 4, 3)
    want = tt.scan(net, x)
    for whole in (True, False):
        tt.zero_states(net)
        torch._dynamo.reset()
        try:
            y = torch.compile(lambda x: tt.scan(net, x), fullgraph=whole)(x)
        except torch._dynamo.exc.Unsupported as error:
            assert whole and not TRACES and "RuntimeError" in str(error), error
        else:
            torch.testing.assert_close(y, want)


def exported() -> None:
    """torch.export of a scan, saved and loaded."""

    class Over(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = model()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            tt.zero_states(self.net)
            return tt.scan(self.net, x)

    net, x, file = Over().eval(), torch.rand(12, 4, 3), io.BytesIO()
    want = net(x)
    tt.zero_states(net)
    torch.export.save(torch.export.export(net, (x,)), file)
    file.seek(0)
    torch.testing.assert_close(torch.export.load(file).module()(x), want)


def pickled() -> None:
    """A model is pickled with its states."""
    net, x = model(), torch.rand(12, 4, 3)
    tt.scan(net, x)
    other = pickle.loads(pickle.dumps(net))
    torch.testing.assert_close(tt.scan(other, x), tt.scan(net, x))


def packaged() -> None:
    """The headers, the sources and the type stubs are there, and it is the installed package."""
    root = Path(tt.__file__).parent
    for name in ("py.typed", "snn/__init__.pyi", "backends/cpp/math.h", "backends/cpp/matrix/matrix.cpp"):
        assert (root / name).is_file(), name
    assert version("tracetorch") == tt.__version__
    assert Path(sys.prefix) in root.parents, root


def imported() -> None:
    """`import tracetorch` costs at most 0.1 s of the processor beyond torch (once in ten tries).

    A collection of all that torch has made, which may or may not fall into it, takes as long again and is left out.
    """
    code = ("import gc, time, torch, einops; gc.disable(); s = time.process_time(); import tracetorch; "
            "print(time.process_time() - s)")
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    took = (float(subprocess.check_output([sys.executable, "-c", code], env=env)) for _ in range(10))
    assert any(seconds < 0.1 for seconds in took)


CHECKS: tuple[Callable[[], None], ...] = (
    packaged, imported, scan, by_hand, recorded, train, compiled, exported, pickled
)


def main() -> int:
    """Run every check; print a row of a table; return 1 where one failed."""
    warnings.simplefilter("ignore")
    failed = []
    with tempfile.TemporaryDirectory() as os.environ["TRACETORCH_CACHE_DIR"]:
        for check in CHECKS:
            try:
                check()
            except Exception as error:
                traceback.print_exc()
                failed.append(f"{check.__name__}: {type(error).__name__}")
    row = (platform.python_version(), torch.__version__, "; ".join(failed) or "all pass")
    print("|", " | ".join(map(str, row)), "|")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
