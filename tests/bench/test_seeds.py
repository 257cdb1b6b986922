"""hubws/bench/seeds/: the documents' benchmarks."""

from __future__ import annotations

import pytest
import trio

from hubws.bench.seeds.page import page_of
from hubws.bench.seeds.run import SEEDS, check_names
from hubws.bench.seeds.section import Row, Scale, Section


def test_a_page_of_sections():
    row = Row("tps", "1 | 2", "3")
    text = page_of([Section("Title", "000, x", "theirs", "ours", [row], "remark")], is_quick=False)
    assert "## Title\n" in text
    assert "| tps | 1 \\| 2 | 3 |\n" in text
    assert text.endswith("remark\n")
    assert "quick" not in text
    assert max(map(len, text.splitlines())) <= 120


def test_quick_ones_say_so():
    assert "these are no figures" in page_of([], is_quick=True)


async def test_all_of_them_quickly():
    scale = Scale(quick=True, million=30_000, say=lambda _: None)
    with trio.fail_after(150):
        sections = {name: await SEEDS[name](scale) for name in SEEDS}
    text = page_of([sections[name] for name in SEEDS], is_quick=True)
    for claim in (
        "2.31s 55.53%", "478038/s", "124941915494 bytes", "大约86MB", "108143", "15008 332.710255/s",
        "240626600 bytes", "207438 to 216960",
    ):  # fmt: skip
        assert claim in text
    rows = [row for section in sections.values() for row in section.rows]
    ours = [row.ours for row in rows]
    assert [row for row in rows if row.ours in ("", "-") or "nan" in row.ours] == []
    assert "100.00% ✓ 100 ✗ 0" in ours


def test_names():
    check_names(list(SEEDS))
    with pytest.raises(ValueError, match="there is no benchmark 'x'; there are proxy, tps,"):
        check_names(["x"])


def test_quick_is_small():
    quick = Scale(quick=True)
    assert (quick.count(10_000), quick.seconds(30), quick.count(100)) == (100, 0.3, 100)
    assert (Scale().count(10_000), Scale().seconds(30)) == (10_000, 30)
