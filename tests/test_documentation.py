"""What the documentation shows runs, what it names exists, and its links lead somewhere."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import reduce
from itertools import zip_longest
from pathlib import Path

import attrs
import pytest
import trio

import hubws
import hubws.proxy
import hubws.testing.fixtures

ROOT = Path(__file__).parents[1]
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = [
    *GUIDES,
    ROOT / "CHANGELOG.md",
    ROOT / "benchmarks/README.md",
    *sorted(ROOT.glob("examples/*/*.md")),
]

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUNS_ON = "<!-- runs until interrupted -->"
"""What stands before a server that does not end by itself; it listens on port 8080."""


@attrs.frozen
class Block:
    page: str
    line: int
    code: str
    output: str | None
    runs_on: bool


def blocks() -> Iterator[Block]:
    """The Python programs of the guides; a text block right behind one is what it prints."""
    for path in GUIDES:
        text = path.read_text(encoding="utf-8")
        fences = list(FENCE.finditer(text))
        for fence, following in zip_longest(fences, fences[1:]):
            if fence[1] != "python":
                continue
            output = None
            if (
                following is not None
                and following[1] == "text"
                and not text[fence.end() : following.start()].strip()
            ):
                output = following[2]
            yield Block(
                str(path.relative_to(ROOT)),
                text.count("\n", 0, fence.start()) + 2,
                fence[2],
                output,
                text[: fence.start()].rstrip().endswith(RUNS_ON),
            )


def prose(path: Path) -> str:
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def name_of(value: object) -> str:
    match value:
        case Block(page=page, line=line):
            return f"{page}:{line}"
        case Path():
            return str(value.relative_to(ROOT))
    return repr(value)


def test_there_is_something_to_test() -> None:
    assert {"README.md", "docs/semantics.md"} <= {block.page for block in blocks()}


@pytest.mark.parametrize("block", [b for b in blocks() if not b.runs_on], ids=name_of)
def test_programs_run(block: Block, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(block.code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", program],
        cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    if block.output is not None:
        assert block.output == done.stdout


@pytest.mark.parametrize("block", [b for b in blocks() if b.runs_on], ids=name_of)
async def test_servers_serve(block: Block, tmp_path: Path) -> None:
    assert "8080" in block.code
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = tmp_path / "program.py"
    program.write_text(block.code.replace("8080", str(port)), encoding="utf-8")
    process = await trio.lowlevel.open_process(
        [sys.executable, "-W", "error", str(program)], stderr=subprocess.DEVNULL
    )
    try:
        with trio.fail_after(30):
            while True:
                try:
                    async with hubws.connect(f"ws://127.0.0.1:{port}/") as connection:
                        await connection.send("hello")
                        assert await connection.receive()
                    break
                except OSError:  # it does not listen yet
                    assert process.poll() is None
                    await trio.sleep(0.05)
            process.send_signal(signal.SIGINT)
            await process.wait()
    finally:
        with trio.CancelScope(shield=True):
            if process.poll() is None:
                process.kill()
            await process.wait()


def anchors(path: Path) -> set[str]:
    """What the headings of a page can be linked to by."""
    headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        path, _, anchor = target.partition("#")
        if path.startswith(("https:", "http:", "ws:")):
            continue
        linked = (page.parent / path).resolve() if path else page
        if not linked.exists() or (anchor and anchor not in anchors(linked)):
            broken.append(target)
    assert broken == []


def code_spans(path: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose(path))


@pytest.mark.parametrize("page", GUIDES, ids=name_of)
def test_names_exist(page: Path) -> None:
    missing = []
    for span in code_spans(page):
        for dotted in re.findall(r"\bhubws((?:\.[A-Za-z]\w*)+)(?!\w*=)", span):
            try:
                reduce(getattr, dotted[1:].split("."), hubws)
            except AttributeError:
                missing.append(f"hubws{dotted}")
    assert missing == []


@pytest.mark.parametrize("page", GUIDES, ids=name_of)
def test_files_exist(page: Path) -> None:
    paths = [span for span in code_spans(page) if re.fullmatch(r"[\w./]+/[\w.]*", span)]
    assert [
        path for path in paths if not ((ROOT / path).exists() or (ROOT / "hubws" / path).exists())
    ] == []


@pytest.mark.parametrize("page", GUIDES, ids=name_of)
def test_make_targets_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE))
    text = page.read_text(encoding="utf-8")
    assert set() == set(re.findall(r"(?:`|^\$ |&& )make ([a-z]+)", text, re.MULTILINE)) - targets


def test_extras_are_documented() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (ROOT / "docs/dependencies.md").read_text(encoding="utf-8")
    names = {*project["optional-dependencies"]} - {"test", "lint", "bench"}
    assert {f"`{name}`" for name in names} == {f"`{name}`" for name in names if f"`{name}`" in text}
    for requirement in project["dependencies"]:
        assert re.match(r"[\w-]+", requirement)[0] in text  # type: ignore[index]


def test_the_changelog_knows_this_version() -> None:
    assert f"\n## {hubws.__version__} " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
