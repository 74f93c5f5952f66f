"""tt.Linear: nn.Linear with one order of sums, which skips the zeros of its input where that is faster."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..backends.cpp.matrix import linear as matrix

M = TypeVar("M", bound=nn.Module)
OWN = ("_workspace", "_why")


class Linear(nn.Linear):
    """A drop-in `nn.Linear` that gains where most of its input is zero, as hard spikes are.

        y[n] = bias[n] + x[0] weight[n, 0] + x[1] weight[n, 1] + ...

    In float32 on the CPU the sum runs in this order, one fused multiply-add after another, whether zeros are skipped
    or not. So any batch, stepping or scanning, any number of threads and either path give the same bits. Everywhere
    else (other dtypes and devices, autocast, `tt.backend("eager")`, `torch.func`, export, no C++ compiler) it is
    `nn.Linear`.

    Args:
        in_features, out_features, bias, device, dtype: as for `nn.Linear`.
        path: "auto" looks at a sample of the input in every call; "dense" or "sparse" settles it. It changes how long
            a call takes, never what it returns. `seen` tells how the last call ran. A weight with inf or NaN in it is
            never skipped: 0 * inf is NaN.

    Raises:
        ValueError: another path.
        RuntimeError: a second derivative is asked for.
    """

    PATHS = matrix.PATHS
    _workspace: matrix.Workspace | None = None
    _why: str | None = None
    _path = "auto"

    def __init__(self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None, *,
                 path: str = "auto") -> None:
        super().__init__(in_features, out_features, bias, device, dtype)
        if path != "auto":
            self.path = path

    @staticmethod
    def of(module: M) -> M:
        """Turn an `nn.Linear`, or every one inside a module, into `tt.Linear` where it stands, and return the module.

        Parameters, hooks, and who else refers to it stay as they are; subclasses of `nn.Linear` are left alone.

        Args:
            module: an `nn.Linear`, or any module with some inside.

        Raises:
            TypeError: it is no module.
        """
        if not isinstance(module, nn.Module):
            raise TypeError(f"tt.Linear.of takes an nn.Linear or a module that holds some, got {type(module).__name__}")
        for each in module.modules():
            if type(each) is nn.Linear:
                each.__class__ = Linear
        return module

    @property
    def path(self) -> str:
        """Which path is taken: "auto", "dense" or "sparse"."""
        return self._path

    @path.setter
    def path(self, path: str) -> None:
        if path not in matrix.PATHS:
            allowed = ", ".join(map(repr, matrix.PATHS))
            raise ValueError(f"tt.Linear: path={path!r} is not known, allowed are {allowed}")
        self.__dict__["_path"] = path

    @property
    def seen(self) -> matrix.Seen | None:
        """How the last call ran: `path` ("dense", "sparse", "torch"), `density` of its input, `why`; None before."""
        if self._why is not None:
            return matrix.Seen("torch", None, self._why)
        return None if self._workspace is None else self._workspace.seen

    def forward(self, input: Tensor) -> Tensor:
        """Return `input` [..., in_features] times the weight, plus the bias: [..., out_features]."""
        found = self._parameters       # where they are: through attributes they cost as much as the rest of the way
        weight: Tensor = found.get("weight")    # type: ignore[assignment]
        if weight is None:
            weight = self.weight
        bias = found.get("bias")
        if bias is None and "bias" not in found:
            bias = self.bias
        why = matrix.why_torch(input, weight, bias)
        if torch.compiler.is_compiling():
            return matrix.linear_in_graph(input, weight, bias, self._path) if why is None else F.linear(
                input, weight, bias)
        state = self.__dict__
        if why is not None:
            state["_why"] = why
            return F.linear(input, weight, bias)
        own = state.get("_workspace")
        if own is None:
            own = state["_workspace"] = matrix.Workspace()
        state["_why"] = None
        return matrix.linear(input, weight, bias, self._path, own)

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self._path == "auto" else f", path={self._path!r}")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in OWN}

    def _apply(self, fn: Any, recurse: bool = True) -> Linear:
        for name in OWN:
            self.__dict__.pop(name, None)
        return super()._apply(fn, recurse)
