"""The pages, and the blocks on them: programs, commands, configurations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import attrs

ROOT = Path(__file__).parents[2]
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
"""Whose blocks are all executed or checked."""
PAGES = [
    *GUIDES,
    ROOT / "CHANGELOG.md",
    ROOT / "fuzzing/README.md",
    *sorted(ROOT.glob("benchmarks/*.md")),
    *sorted(ROOT.glob("compliance/*.md")),
    *sorted(ROOT.glob("examples/*/*.md")),
]
"""All of the site: those whose links and commands are checked."""

FENCE = re.compile(r"^(`{3,})([^\n`]*)\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
SIDE_BY_SIDE = re.compile(r"^:::\{container\} side-by-side\n.*?^:::$", re.MULTILINE | re.DOTALL)

RUNS_ON = "<!-- runs until interrupted -->"
"""Stands before a server that does not end by itself; it listens on port 8080."""
WITH_SERVER = "<!-- with the server above -->"
"""Stands before a client of the last such server, which it finds on port 8080."""
WITH_PYTEST = "<!-- run by pytest -->"
"""Stands before tests."""
NOT_RUN = re.compile(r"^\*Not run by the tests: (.+)\.\*\Z", re.MULTILINE)
"""What readers see before a block that nobody executes."""


@attrs.frozen
class Block:
    """What stands between two fences."""

    page: Path
    line: int
    language: str
    code: str
    mark: str = ""
    """RUNS_ON, WITH_SERVER, WITH_PYTEST, or nothing."""
    reason: str = ""
    """Why it is not run."""
    output: str | None = None
    """What a program prints, when the page says it: a text block behind it, or behind the pair."""
    server: Block | None = None
    """For a client, its server."""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(path: Path) -> Iterator[Block]:
    """All blocks of a page, in order."""
    text = path.read_text(encoding="utf-8")
    pairs = [(pair.start(), pair.end()) for pair in SIDE_BY_SIDE.finditer(text)]
    fences = list(FENCE.finditer(text))
    server = None
    for index, fence in enumerate(fences):
        before = text[fences[index - 1].end() if index else 0 : fence.start()].rstrip()
        mark = next((m for m in (RUNS_ON, WITH_SERVER, WITH_PYTEST) if before.endswith(m)), "")
        reason = NOT_RUN.search(before)
        end = next((end for start, end in pairs if start < fence.start() < end), fence.end())
        following = FENCE.match(text, len(text) - len(text[end:].lstrip("\n")))
        block = Block(
            path,
            text.count("\n", 0, fence.start()) + 2,
            fence[2],
            fence[3],
            mark,
            "" if reason is None else reason[1],
            following[3] if following is not None and following[2] == "text" else None,
            server if mark == WITH_SERVER else None,
        )
        if mark == RUNS_ON:
            server = block
        yield block


BLOCKS = [block for path in GUIDES for block in blocks_of(path)]
ALL_BLOCKS = [block for path in PAGES for block in blocks_of(path)]


def prose(path: Path) -> str:
    """A page without its blocks."""
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def name_of(value: object) -> str:
    """Of a block or a page, for the tests' names."""
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else str(value)
