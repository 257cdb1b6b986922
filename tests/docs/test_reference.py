"""The reference: every public name is in it once, and its docstring says what one has to know."""

from __future__ import annotations

import ast
import enum
import importlib
import inspect
import re
import textwrap
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import attrs
import pytest

import hubws
import hubws.embedding
import hubws.metrics
import hubws.pages
import hubws.proxy
import hubws.testing

from .pages import ROOT

FRONTS: tuple[ModuleType, ...] = (
    hubws, hubws.embedding, hubws.metrics, hubws.pages, hubws.proxy, hubws.testing,
)  # fmt: skip
NAMES = [f"{front.__name__}.{name}" for front in FRONTS for name in front.__all__]

UNIT = re.compile(
    r"seconds?\b|\bs\b|times? (is|are) in|share|from 0 to 1|factor|weight|percent|clock"
)
"""Words that say what a number with a fraction counts."""


PAGES = sorted((ROOT / "docs/reference").glob("*.md"))


def documented() -> Iterator[tuple[Any, str, set[str]]]:
    """What the reference's pages ask for: each object, an option about its members, and these."""
    for page in PAGES:
        module = hubws
        text = page.read_text(encoding="utf-8")
        for directive, name, options in re.findall(
            r"^\.\. (currentmodule|auto\w+):: ([\w.]+).*\n((?:   :.*\n)*)", text, re.MULTILINE
        ):
            if directive == "currentmodule":
                module = importlib.import_module(name)
            else:
                option = re.search(r":(exclude-members|members): (.+)", options) or ["", "", ""]
                yield getattr(module, name), option[1], set(option[2].split(", "))


SHOWN = {value: (option, members) for value, option, members in documented()}


MADE = set(re.findall(r"autoclass:: (\w+)\(\)", "".join(map(Path.read_text, PAGES))))
"""Classes that functions make; how is nobody's business."""


def is_shown(value: object, member: str) -> bool:
    """Whether the reference has a class's member."""
    option, members = SHOWN.get(value, ("", set()))
    return not option or (member in members) is (option == "members")


def test_every_public_name_is_in_the_reference_once() -> None:
    counted = Counter(value for value, _, _ in documented())
    assert [name for name in NAMES if value_of(name) not in counted] == []
    assert [value for value, count in counted.items() if count > 1] == []


def value_of(name: str) -> Any:
    module, _, last = name.rpartition(".")
    return getattr(next(front for front in FRONTS if front.__name__ == module), last)


@cache
def doc_of(value: object) -> str:
    """Its docstring, and those behind its fields, as one text."""
    text = inspect.getdoc(value) or ""
    if inspect.isclass(value):
        for cls in value.__mro__:
            if cls.__module__.startswith("hubws"):
                text += f"\n{inspect.getdoc(cls)}\n" + "\n".join(field_docs(cls).values())
    return text


def said_of(value: object, within: object = None) -> str:
    """What is said of it, there or where its docstring refers to: "as `send`", "see `reconnect`"."""
    text = doc_of(value)
    for name in re.findall(r"`(?:hubws\.)?([A-Za-z_.]+)`", text):
        found: Any = getattr(within, name, hubws)
        if found is hubws:
            for part in name.split("."):
                found = getattr(found, part, None)
        text += f"\n{doc_of(found)}" if callable(found) and found is not value else ""
    return text


def field_docs(cls: type) -> dict[str, str]:
    """The docstrings that stand behind a class's fields, by the field's name."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(tree, ast.ClassDef)
    docs = {}
    for statement, following in zip(tree.body, tree.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            docs[statement.target.id] = str(following.value.value)
    return docs


def functions(name: str) -> Iterator[tuple[str, Any, str]]:
    """A public function, or the public methods of a class: name, function, all that is said of it."""
    value = value_of(name)
    if not inspect.isclass(value):
        yield name, inspect.unwrap(value), said_of(value)
        return
    if not getattr(value, "_is_protocol", False) and value.__name__ not in MADE:
        yield name, value.__init__, said_of(value)
    for member, definition in vars(value).items():
        function = getattr(definition, "__func__", getattr(definition, "fget", definition))
        if (
            isinstance(function, FunctionType)
            and not member.startswith("_")
            and is_shown(value, member)
        ):
            function = inspect.unwrap(function)
            yield f"{name}.{member}", function, said_of(function, value) + said_of(value)


@pytest.mark.parametrize("name", NAMES)
def test_many_arguments_are_told_one_by_one(name: str) -> None:
    """Shape: a function of more than three arguments has a word for each of them."""
    for where, function, text in functions(name):
        if isinstance(function, FunctionType) and function.__name__ != "__init__":
            names = inspect.signature(function).parameters.keys() - {"self", "cls"}
            missing = [one for one in names if not re.search(rf"\b{one}\b", text)]
            assert len(names) <= 3 or missing == [], where


@pytest.mark.parametrize("name", NAMES)
def test_fractions_have_a_unit(name: str) -> None:
    """Units: whatever is a float says what it counts."""
    value = value_of(name)
    if attrs.has(value):
        docs = field_docs(value)
        for field in attrs.fields(value):
            if "float" in str(field.type) and field.init and not field.name.startswith("_"):
                said = f"{docs.get(field.name, '')} {inspect.getdoc(value)}"
                assert UNIT.search(said), f"{name}.{field.name} is in what?"
    for where, function, text in functions(name):
        for argument, annotation in getattr(function, "__annotations__", {}).items():
            if re.search(r"\bfloat\b", str(annotation)):
                assert UNIT.search(text), f"{argument} of {where} is in what?"


PLAIN = {"hubws.Frame.opcode"}
"""Fields whose names say it all."""


@pytest.mark.parametrize("name", NAMES)
def test_numbers_say_what_they_count(name: str) -> None:
    """Units: a field that is a number has a word of its own, in its class, or with its twin's."""
    value = value_of(name)
    if attrs.has(value):
        docs = field_docs(value)
        stems = {documented.partition("_")[0] for documented in docs if "_" in documented}
        untold = [
            field.name
            for field in attrs.fields(value)
            if re.search(r"\b(int|float)\b", str(field.type)) and not field.name.startswith("_")
            if field.name not in docs and not re.search(rf"\b{field.name}\b", doc_of(value))
            if field.name.partition("_")[0] not in stems
        ]
        assert [one for one in untold if f"{name}.{one}" not in PLAIN] == []


def raised_in(function: Any) -> set[str]:
    """The errors that a function itself raises by name."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError):  # written by attrs or by Python
        return set()
    return {
        error
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
        if (error := ast.unparse(node.exc.func).rpartition(".")[2])[0].isupper()
    } - {"AssertionError", "StopAsyncIteration", "NotImplementedError"}


@pytest.mark.parametrize("name", NAMES)
def test_errors_are_told(name: str) -> None:
    """Errors: what a public function raises stands in its docstring, or in that of its class."""
    for where, function, text in functions(name):
        assert {error for error in raised_in(function) if error not in text} == set(), where


FROM_THE_RFC = {
    "hubws.CloseCode": "7.4.1",
    "hubws.Opcode": "11.8",
    "hubws.Frame": "5.2",
    "hubws.Close": "5.5.1",
    "hubws.Closure": "7.1.5",
    "hubws.State": "4.1",
    "hubws.ConnectionClosed": "7.1.5",
    "hubws.ProtocolError": "7.4.1",
    "hubws.Deflate": "RFC 7692",
    "hubws.DeflateParameters": "RFC 7692",
    "hubws.Prepared": "RFC 7692",
    "hubws.basic_auth": "RFC 7617",
    "hubws.bearer_auth": "RFC 6750",
    "hubws.connect": "RFC 6455 §4.1",
    "hubws.serve": "RFC 6455 §4.2",
    "hubws.Connection.send": "5.6",
    "hubws.Connection.send_stream": "5.4",
    "hubws.Connection.receive_stream": "5.4",
    "hubws.Connection.ping": "5.5.2",
    "hubws.Connection.pong": "5.5.3",
    "hubws.Connection.aclose": "7.1.2",
    "hubws.Response": "RFC 9110",
    "hubws.Headers": "RFC 9110",
    "hubws.RoundTripTimes": "RFC",
    "hubws.HandshakeError": "RFC 6455 §4",
    "hubws.HandshakeRefused": "§4.1",
    "hubws.UpgradeRefused": "§4.2",
    "hubws.ProxyError": "RFC 9110",
    "hubws.proxy.serve_proxy": "RFC 7239",
    "hubws.embedding.accept": "§4.2",
}
"""What is the RFCs' business names its section."""


@pytest.mark.parametrize("name", FROM_THE_RFC)
def test_sources_are_told(name: str) -> None:
    value: Any = hubws
    for part in name.split(".")[1:]:
        value = getattr(value, part)
    assert "RFC" in doc_of(value)
    assert FROM_THE_RFC[name] in doc_of(value)


@pytest.mark.parametrize("name", NAMES)
def test_words_in_backticks_exist(name: str) -> None:
    """A public name in a docstring, written with its dots, is one."""
    value = value_of(name)
    text = "".join(text for _, _, text in functions(name))
    for dotted in re.findall(r"`hubws\.([\w.]+)`", text):
        found: Any = hubws
        for part in dotted.split("."):
            found = getattr(found, part)
    for owner, member in re.findall(r"`([A-Z]\w+)\.(\w+)`", text):
        cls = getattr(hubws, owner, None) or getattr(hubws.proxy, owner, None)
        if cls is not None:
            assert hasattr(cls, member) or member in doc_of(cls), f"{owner}.{member}"
    if inspect.isclass(value) and issubclass(value, enum.Enum):
        assert len(value) > 1


def test_shapes_are_those_of_the_code() -> None:
    sources = {
        line.replace('"', "").replace(": TypeAlias", "")
        for path in (ROOT / "hubws").glob("**/*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
    }
    text = (ROOT / "docs/reference/shapes.md").read_text(encoding="utf-8")
    shown = [
        f"{name} = {shape}".replace("\\|", "|")
        for name, shape in re.findall(r"^\| `(\w+)` \| `(.+?)` \| ", text, re.MULTILINE)
    ]
    assert len(shown) > 20
    assert [one for one in shown if one not in sources] == []
