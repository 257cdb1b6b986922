"""The public names: all of them listed, and all of them explained."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import hubws


def public_members(name: str) -> Iterator[tuple[str, object]]:
    """A public object, and for a class of hubws what it defines for others to call."""
    value = getattr(hubws, name)
    yield name, value
    if not inspect.isclass(value):
        return
    for cls in value.__mro__:
        if cls.__module__.startswith("hubws."):
            for member, definition in vars(cls).items():
                function = getattr(definition, "__func__", getattr(definition, "fget", definition))
                if not member.startswith("_") and inspect.isfunction(function):
                    yield f"{cls.__name__}.{member}", function


def test_sorted() -> None:
    """By the letter, whatever its case; ruff has the finer rule."""
    assert len(set(hubws.__all__)) == len(hubws.__all__)
    words = [name for name in hubws.__all__ if not name.isupper()]
    assert sorted(words) == words


def test_complete() -> None:
    tree = ast.parse(Path(hubws.__file__).read_text())
    imported = {
        name.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level == 1
        for name in node.names
    }
    assert set(hubws.__all__) == imported


def test_what_is_imported_later_is_what_type_checkers_see() -> None:
    tree = ast.parse(Path(hubws.__file__).read_text())
    checked, _ = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        node.module: [name.name for name in node.names]
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
    }
    assert seen == {module: names.split() for module, names in hubws.LATER.items()}
    for name in hubws.__all__:
        assert name in dir(hubws)
    with pytest.raises(AttributeError, match="module 'hubws' has no attribute 'Nothing'"):
        hubws.Nothing  # type: ignore[attr-defined]  # noqa: B018


def test_every_error_is_public() -> None:
    errors = {name for name, value in vars(hubws.errors).items() if inspect.isclass(value)}
    assert errors <= set(hubws.__all__)


@pytest.mark.parametrize("name", hubws.__all__)
def test_docstrings(name: str) -> None:
    for where, value in public_members(name):
        own = inspect.isclass(value) or callable(value)
        assert own, f"{where} is neither a class nor a function"
        assert (getattr(value, "__doc__", None) or "").strip(), f"{where} has no docstring"


@pytest.mark.parametrize("name", hubws.__all__)
def test_annotations(name: str) -> None:
    for where, value in public_members(name):
        if inspect.isfunction(value):
            signature = inspect.signature(value)
            assert signature.return_annotation is not signature.empty, f"{where} returns what?"


def test_typed() -> None:
    assert (Path(hubws.__file__).parent / "py.typed").exists()


def test_version() -> None:
    assert hubws.__version__.count(".") == 2
