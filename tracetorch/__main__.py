"""`python -m tracetorch`: the demo, and the cache of compiled kernels."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from .backends.cpp.build import cache_info, clear_cache


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name, the demo without any; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tracetorch", description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="{demo,cache}")
    demo = commands.add_parser("demo", help="train a spiking network on handwritten digits")
    demo.add_argument("--epochs", type=int, default=30, help="passes over the training images (default 30)")
    demo.add_argument("--seed", type=int, default=0, help="of the split, the weights and the batches")
    demo.add_argument("--picture", default="tracetorch_demo.png", help="where to write the picture")
    cache = commands.add_parser("cache", help="show the cache of compiled kernels")
    cache.add_argument("--clear", action="store_true", help="empty it")
    args = parser.parse_args(["demo", *sys.argv[1:]] if argv is None and len(sys.argv) == 1 else argv)
    if args.command == "cache":
        return _cache(args.clear)
    return _demo(args.epochs, args.seed, args.picture)


def _demo(epochs: int, seed: int, picture: str) -> int:
    for package in ("matplotlib", "sklearn", "tqdm"):
        try:
            importlib.import_module(package)
        except ImportError:
            print(f"the demo needs {package}: pip install tracetorch[demo]", file=sys.stderr)
            return 1
    import torch

    from .demo import run

    torch.set_num_threads(1)  # batches this small gain little from more, and lose much where the machine is busy
    run(epochs, seed, picture)
    return 0


def _cache(clear: bool) -> int:
    if clear:
        print(f"removed {clear_cache()} kernels")
    info = cache_info()
    print(f"{info.path}: {info.kernels} kernels, {info.bytes / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
