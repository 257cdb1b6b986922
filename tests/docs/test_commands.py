"""Every command of the documentation could be typed: its program, options and files are there."""

from __future__ import annotations

import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubws.cli.app import make_app

from .pages import ALL_BLOCKS, ROOT, Block, name_of

CONSOLE = [block for block in ALL_BLOCKS if block.language == "console" and not block.reason]

OPERATORS = {"|", ";", "&", "&&", "||", "(", ")"}
ORDINARY = {
    ".", "cat", "cd", "curl", "echo", "head", "kill", "printf", "pre-commit", "sleep", "uptime",
}  # fmt: skip
"""Programs that are not ours, and of which the pages use nothing special."""

FILE = re.compile(r"[\w-]+\.[a-z]{2,4}")
"""A file that a command reads; here an empty one."""

MAKE_TARGETS = set(
    re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
)
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]


def commands(block: Block) -> Iterator[list[str]]:
    """Each command of a block in words: of a pipe, and of several in a line, each of them."""
    text = re.sub(r"\\\n", " ", block.code)
    for line in re.findall(r"^\$ (.+)$", text, re.MULTILINE):
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word not in OPERATORS:
                words.append(word)
            elif words:
                yield without_settings(words)
                words = []


def without_settings(words: list[str]) -> list[str]:
    """A command without what is set for it, and without where its output goes."""
    while re.match(r"[A-Z_0-9]+=", words[0]):
        words = words[1:]
    for index, word in enumerate(words):
        if word.startswith((">", "<")):
            return words[:index]
    return words


def check(words: list[str], block: Block) -> None:
    program, arguments = words[0], words[1:]
    match program.removeprefix(".venv/bin/"), arguments:
        case "hubws", _:
            parse(arguments)
        case (("python" | "python3"), ["-m", "hubws", *rest]):
            parse(rest)
        case (("python" | "python3"), ["-m", module, *_]):
            assert importlib.util.find_spec(module), f"there is no module {module}"
        case (("python" | "python3"), ["-c", code, *_]):
            compile(code, "the command", "exec")
        case (("python" | "python3"), [file, *_]):
            places = [block.page.parent / file, ROOT / file]
            assert any(place.exists() for place in places), f"there is no {file}"
        case "make", [*targets]:
            unknown = {one for one in targets if "=" not in one} - MAKE_TARGETS
            assert not unknown, f"the Makefile has no {unknown}"
        case "pip", ["install", *what]:
            for extras in re.findall(r"\[(.+?)\]", " ".join(what)):
                assert set(extras.split(",")) <= EXTRAS.keys()
        case _:
            assert program in ORDINARY, f"nobody has looked at {program}"


def parse(arguments: list[str]) -> None:
    """Have our own command line read its arguments; nothing is run."""
    make_app().parse_args(arguments, exit_on_error=False, print_error=False)


@pytest.mark.parametrize("block", CONSOLE, ids=name_of)
def test_commands_can_be_typed(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    typed = list(commands(block))
    assert typed, "no line begins with $"
    for words in typed:
        for word in words:
            if FILE.fullmatch(word):
                (tmp_path / word).touch()
        check(words, block)
