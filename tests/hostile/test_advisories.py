"""Every advisory that applies is used in an attack."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .advisories import APPLICABLE

HERE = Path(__file__).parent
NUMBER = re.compile(r"(?:CVE|GHSA|OSV|PYSEC)-[\w-]+")


def words_of_tests() -> Iterator[str]:
    """All texts in the modules of attacks: docstrings, names of ways, and what is sent."""
    for path in HERE.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


WORDS = "\n".join(words_of_tests())


@pytest.mark.parametrize("advisory", APPLICABLE)
def test_has_a_test_that_names_it(advisory: str) -> None:
    assert advisory in WORDS


def test_no_other_is_named() -> None:
    """What is named in an attack but missing in the list would be missing in the report."""
    assert set(NUMBER.findall(WORDS)) <= set(APPLICABLE)
