"""Who imports whom: a module imports from lower layers and from its own room."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path

import pytest

import hubws

ROOT = Path(hubws.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))

ORDER = [
    "errors native",
    "protocol",
    "transport",
    "connection",
    "server client",
    "embedding",
    "hub",
    "backplane",
    "proxy testing metrics",
    "pages",
    "bench",
    "cli",
    "__main__",
]
LAYERS = {room: layer for layer, rooms in enumerate(ORDER) for room in rooms.split()}
"""By room; rooms of the same layer don't import each other."""

NO_INPUT_OUTPUT = {"asyncio", "select", "selectors", "socket", "ssl", "threading", "time", "trio"}
"""What the protocol must do without."""


def run_time_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Everything in a module but what is for type checkers only."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            child = ast.Module(child.orelse, [])  # noqa: PLW2901
        yield child
        yield from run_time_nodes(child)


def imported_by(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a module imports."""
    package = ".".join(path.relative_to(ROOT.parent).parent.parts)
    for node in run_time_nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), package)
            yield from ((node.lineno, f"{module}.{name.name}") for name in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports(path: Path) -> None:
    room = path.relative_to(ROOT).with_suffix("").parts[0]
    assert room in {"__init__", *LAYERS}, f"give {room} its layer in LAYERS"
    for line, name in imported_by(path):
        where = f"{path.relative_to(ROOT.parent)}:{line} imports {name}"
        top, other, *_ = [*name.split("."), ""]
        assert room != "protocol" or top not in NO_INPUT_OUTPUT, f"{where}: protocol does no I/O"
        if top == "hubws" and room not in {"__init__", other}:
            assert other in LAYERS, f"{where}: the package's front is for applications"
            assert LAYERS[other] < LAYERS[room], f"{where}: {other} is not below {room}"
