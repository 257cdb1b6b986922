"""What pages name exists, their links lead somewhere, and no block is left unlooked at."""

from __future__ import annotations

import re
import tomllib
from functools import reduce
from pathlib import Path

import pytest

import hubws
import hubws.backplane.redis
import hubws.embedding
import hubws.metrics
import hubws.pages
import hubws.proxy
import hubws.testing.fixtures

from .pages import BLOCKS, GUIDES, PAGES, ROOT, RUNS_ON, name_of, prose

CHECKED = {
    "python", "console",  # test_programs.py, test_commands.py
    "nginx", "haproxy", "ini", "sysctl", "toml", "json",  # test_configurations.py
    "{eval-rst}",  # test_site.py
    "text",  # what something prints; behind a program it is compared
}  # fmt: skip
"""Languages of blocks that some test executes or checks."""

LOGGERS = {"hubws.access"}
"""Names that begin as ours do, and are no modules."""

NOT_RUN = 1
"""How many blocks may say that they are not run, and why."""


def test_there_is_something_to_test() -> None:
    assert {"README.md", "semantics.md", "tutorial.md"} <= {block.page.name for block in BLOCKS}
    assert any(block.mark == RUNS_ON for block in BLOCKS)


def test_every_block_is_checked() -> None:
    unknown = [block for block in BLOCKS if block.language not in CHECKED and not block.reason]
    assert [f"{block}: {block.language}" for block in unknown] == []


def test_few_blocks_are_not_run() -> None:
    said = [f"{block}: {block.reason}" for block in BLOCKS if block.reason]
    assert len(said) <= NOT_RUN, said
    marks = sum(prose(page).count("\n*Not run by the tests: ") for page in GUIDES)
    assert marks == len(said), "a mark stands right before its block: *Not run by the tests: why.*"


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
        if span in LOGGERS:
            continue
        for dotted in re.findall(r"\bhubws((?:\.[A-Za-z]\w*)+)(?!\w*=)", span):
            try:
                reduce(getattr, dotted[1:].split("."), hubws)
            except AttributeError:
                missing.append(f"hubws{dotted}")
    assert missing == []


@pytest.mark.parametrize("page", GUIDES, ids=name_of)
def test_files_exist(page: Path) -> None:
    paths = [span for span in code_spans(page) if re.fullmatch(r"[\w.]+/[\w./]*", span)]
    made = ("build/",)  # what is there only once it was made
    assert [
        path
        for path in paths
        if not path.startswith(made)
        and not ((ROOT / path).exists() or (ROOT / "hubws" / path).exists())
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
    assert [name for name in project["optional-dependencies"] if f"`{name}`" not in text] == []
    for requirement in project["dependencies"]:
        assert re.match(r"[\w-]+", requirement)[0] in text  # type: ignore[index]


def test_the_changelog_knows_this_version() -> None:
    assert f"\n## {hubws.__version__} " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
