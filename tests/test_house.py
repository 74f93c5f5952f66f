"""The house: which file may import which, so that nothing below depends on what stands above it."""

import ast
import importlib.util
from pathlib import Path

import tracetorch

ROOT = Path(tracetorch.__file__).parent
FLOORS = [
    ["__main__"],
    ["demo"],
    ["plot"],
    ["__init__"],
    ["activity", "calibrate", "explain", "nir", "snn", "testing"],
    ["scan", "aot"],
    ["check"],
    ["layers"],
    ["backends"],
    ["fusion"],
    ["padding", "looped"],
    ["pipeline"],
    ["stages"],
    ["functional", "current"],
]
"""From top to bottom; a room imports from its own floor or from below."""
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
OPTIONAL = {"plot", "demo"}
"""Rooms that need an extra: they may be imported late."""


def imports(path):
    """Yield the module each import statement of ours names, and whether it stands inside a function."""
    package = ".".join(["tracetorch", *path.relative_to(ROOT).parts[:-1]])
    tree = ast.parse(path.read_text())
    late = {inner for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for inner in ast.walk(node)}
    types = {inner for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
             for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node not in types:
            name = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            if name.split(".")[0] == "tracetorch":
                for alias in node.names:
                    yield name if len(name.split(".")) > 1 else f"{name}.{alias.name}", node in late


def room(module):
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in LEVEL else "__init__"


def room_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def module_of(path):
    return ".".join(["tracetorch", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")


FILES = sorted(ROOT.rglob("*.py"))


def test_every_room_has_a_floor():
    assert {room_of(path) for path in FILES} == set(LEVEL)


def test_no_import_points_up():
    up = []
    for path in FILES:
        up += [f"{path.relative_to(ROOT)} imports {name}" for name, _ in imports(path)
               if LEVEL[room(name)] < LEVEL[room_of(path)]]
    assert not up


def test_nothing_of_ours_is_imported_late_but_what_needs_an_extra():
    late = [f"{path.relative_to(ROOT)} imports {name}" for path in FILES for name, inside in imports(path)
            if inside and room(name) not in OPTIONAL and room_of(path) not in ("__main__", *OPTIONAL)]
    assert not late


def test_no_circle():
    """Inside a folder files import each other one way only."""
    edges: dict[str, set[str]] = {}
    names = {module_of(path) for path in FILES}
    for path in FILES:
        if path.name == "__init__.py":
            continue
        own = module_of(path)
        edges[own] = {name for name, inside in imports(path) if name in names and not inside and name != own}
    done: set[str] = set()

    def visit(module, above):
        assert module not in above, f"circle: {' -> '.join([*above, module])}"
        if module not in done:
            for below in edges.get(module, ()):
                visit(below, [*above, module])
            done.add(module)

    for module in edges:
        visit(module, [])
