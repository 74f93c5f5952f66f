"""A GPU driver that launches nothing: what the host does for a scan on a GPU, without one.

Kernels are compiled for real, once, and then not run. Inside `no_card()` Triton takes CPU tensors, whose numbers are
left as they come from the allocator.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

PROCESSORS = 132


class Driver:
    """What Triton asks of a driver, for an H100 that is not there."""

    def __init__(self) -> None:
        from triton.backends.compiler import GPUTarget

        self.target = GPUTarget("cuda", 90, 32)
        self.launcher_cls = Launcher
        self.utils = SimpleNamespace(
            load_binary=lambda name, kernel, shared, device: (None, 0, 64, 0, 1024),
            get_device_properties=lambda device: {"max_shared_mem": 232448},
            unload_module=lambda module: None,
        )

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> Any:
        return self.target


class Launcher:
    """A launch that does nothing."""

    def __init__(self, source: Any, metadata: Any) -> None:
        pass

    def __call__(self, *arguments: Any) -> None:
        pass


@contextlib.contextmanager
def no_card() -> Iterator[None]:
    """Let scans of CPU tensors with backend="triton" go all the way to the launch, and no further."""
    from triton.runtime import driver

    from tracetorch.backends import triton as backend
    from tracetorch.backends.triton import launch

    before = driver._active
    driver.set_active(Driver())
    try:
        with (mock.patch.object(backend, "why_not_here", lambda device, io: None),
              mock.patch.object(launch, "processors", lambda device: PROCESSORS),
              mock.patch.object(launch, "on_device", lambda device: contextlib.nullcontext())):
            yield
    finally:
        driver._active = before
