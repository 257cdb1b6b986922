"""hubws/cli/bench_seeds.py: the documents' benchmarks as people start them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hubws.cli.app import main, make_app
from hubws.cli.bench_seeds import EXAMPLES, seeds
from hubws.cli.running import Status
from tests.cli.command import run


async def test_one_of_them(tmp_path: Path):
    path = tmp_path / "SEEDS.md"
    end = await run("bench", "seeds", "push", "--quick", "--output", str(path))
    assert end.status == 0
    assert end.lines[:2] == ["Push and receive", "  messages received a second"]
    assert end.errors[0] == "push:"
    assert end.errors[-1] == f"written to {path}"
    assert "207438 to 216960" in path.read_text()


async def test_for_programs(tmp_path: Path):
    path = tmp_path / "SEEDS.md"
    end = await run("bench", "seeds", "push", "--quick", "--json", "-o", str(path))
    assert (end.status, end.errors) == (0, [])
    (section,) = map(json.loads, end.lines)
    assert (section["event"], section["name"]) == ("section", "push")
    assert len(section["rows"]) == 1


def test_help_has_examples_that_work(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["bench", "seeds", "--help"]) == Status.DONE
    shown = capfd.readouterr().out
    for line in EXAMPLES.strip().splitlines():
        assert line in shown
        example = line.partition("  #")[0].removeprefix("hubws ")
        command, _, _ = make_app().parse_args(example, exit_on_error=False, print_error=False)
        assert command is seeds


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["nonsense"], "there is no benchmark 'nonsense'; there are proxy, tps,"),
        (["--million", "0"], "--million must be 1 to 1,000,000 connections, not 0"),
        (["--output", "no/folder/SEEDS.md"], "there is no folder no/folder"),
    ],
)
def test_wrong_arguments(arguments: list[str], error: str, capfd: pytest.CaptureFixture[str]):
    assert main(["bench", "seeds", *arguments]) == Status.USAGE
    assert error in capfd.readouterr().err
