"""Code blocks of a Markdown page, run in order in one namespace, as a reader would type them."""

import contextlib
import linecache
import pathlib
import re
from dataclasses import dataclass

import torch

ROOT = pathlib.Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXPECTED = re.compile(r"^# (\w*(?:Error|Warning)): (.*(?:\n# .*)*)\s*\Z", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of code, the line it starts at, and the error that its last comment announces."""

    code: str
    line: int
    error: str | None
    message: str


def blocks(path):
    """Every ```python block of a page; one that ends in `# SomeError: text` must raise that, with that text."""
    text = path.read_text()
    found = []
    for match in BLOCK.finditer(text):
        expected = EXPECTED.search(match[1])
        message = re.sub(r"\n# ", " ", expected[2]).strip() if expected else ""
        line = text[: match.start(1)].count("\n")
        found.append(Block(match[1], line, expected[1] if expected else None, message))
    return found


def run(path):
    """Run a page's blocks and return their namespace; the lines in a traceback are those of the page."""
    linecache.cache[str(path)] = (0, None, path.read_text().splitlines(True), str(path))
    namespace = {"__name__": "__main__"}
    for block in blocks(path):
        torch.manual_seed(0)
        code = compile("\n" * block.line + block.code, str(path), "exec")
        with announced(block, f"{path.name}:{block.line}"):
            exec(code, namespace)
    return namespace


@contextlib.contextmanager
def announced(block, where):
    """Expect the error that a block announces, with the text that the page shows."""
    if block.error is None:
        yield
        return
    try:
        yield
    except (Exception, Warning) as error:
        got = " ".join(str(error).split())
        assert type(error).__name__ == block.error, f"{where}: raised {type(error).__name__}: {got}"
        for part in block.message.split(" ... "):
            assert part in got, f"{where}: the page shows\n  {part}\nand the message is\n  {got}"
    else:
        raise AssertionError(f"{where}: no {block.error}")
