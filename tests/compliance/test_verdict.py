"""When a result of the Autobahn test suite is what is required, and how it is recorded."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import pytest

from compliance import __main__ as command
from compliance import suite
from compliance.record import HOW, save
from compliance.suite import Judgement, Suite, SuiteError
from compliance.verdict import Run, Verdict, judge

OK = Judgement("OK", "OK")
INFORMATIONAL = Judgement("INFORMATIONAL", "INFORMATIONAL")
GOOD = {"1.1.1": OK, "7.1.6": INFORMATIONAL}
CASES = list(GOOD)


def counts(verdict: Verdict) -> dict[str, int]:
    return {behavior: count for behavior, count in verdict.counts.items() if count}


def test_it_is_met_when_every_case_is_as_required() -> None:
    verdict = judge(CASES, [Run(GOOD), Run(GOOD)])
    assert verdict.is_met
    assert (verdict.runs, verdict.clean_closes) == (2, 2)
    assert counts(verdict) == {"OK": 1, "INFORMATIONAL": 1}


@pytest.mark.parametrize(
    ("case", "judgement"),
    [
        ("1.1.1", Judgement("NON-STRICT", "OK")),
        ("1.1.1", Judgement("FAILED", "OK")),
        ("1.1.1", Judgement("UNIMPLEMENTED", "OK")),
        ("1.1.1", Judgement("INFORMATIONAL", "INFORMATIONAL")),
        ("1.1.1", Judgement("EXCELLENT", "OK")),
        ("7.1.6", OK),
    ],
)
def test_any_other_behavior_in_one_run_is_the_result(case: str, judgement: Judgement) -> None:
    verdict = judge(CASES, [Run(GOOD), Run(GOOD | {case: judgement}), Run(GOOD)])
    assert not verdict.is_met
    (deviation,) = verdict.deviations
    assert (case, 3) == (deviation.case, len(deviation.behaviors))
    assert judgement.behavior == deviation.behaviors[1]


@pytest.mark.parametrize("close", ["UNCLEAN", "WRONG CODE", "FAILED BY CLIENT", "FAILED"])
def test_a_connection_that_ends_badly_is_not_met(close: str) -> None:
    verdict = judge(CASES, [Run(GOOD | {"1.1.1": Judgement("OK", close)})])
    assert not verdict.is_met
    assert verdict.clean_closes == 1
    assert counts(verdict) == {"OK": 1, "INFORMATIONAL": 1}


def test_a_case_without_a_report_is_missing() -> None:
    verdict = judge(CASES, [Run(GOOD), Run({"7.1.6": INFORMATIONAL})])
    assert not verdict.is_met
    assert counts(verdict) == {"MISSING": 1, "INFORMATIONAL": 1}
    assert verdict.clean_closes == 1


def test_nothing_at_all_is_not_met() -> None:
    assert not judge(CASES, []).is_met
    assert not judge(CASES, [Run({})]).is_met


def test_a_program_that_ended_badly_is_not_met() -> None:
    assert not judge(CASES, [Run(GOOD, ["server.log: exit status 1"])]).is_met


def record(folder, verdict: Verdict, **how: str) -> None:
    combination = dict.fromkeys(HOW, "any") | how
    save(folder, combination, verdict, [1.25], {"CPU": "a fast one"})


def test_a_record_keeps_the_last_result_of_each_combination(tmp_path) -> None:
    bad = judge(CASES, [Run({"1.1.1": OK})])
    good = judge(CASES, [Run(GOOD)])
    record(tmp_path, bad, role="server")
    assert "**no**" in (tmp_path / "RESULTS.md").read_text()
    record(tmp_path, good, role="client")
    record(tmp_path, good, role="server")
    records = json.loads((tmp_path / "results.json").read_text())
    assert [(one["role"], one["as required"]) for one in records] == [
        ("client", True),
        ("server", True),
    ]
    page = (tmp_path / "RESULTS.md").read_text()
    assert "**no**" not in page
    assert page.count("| yes |") == 2
    assert page.count("a fast one") == 1


@pytest.mark.parametrize(
    ("runs", "status"),
    [([GOOD, GOOD], 0), ([GOOD, {}], 1), ([{"1.1.1": OK, "7.1.6": OK}, GOOD], 1)],
)
def test_the_command_fails_unless_all_is_as_required(
    monkeypatch, tmp_path, capsys, runs: Sequence[dict[str, Judgement]], status: int
) -> None:
    results = iter(runs)

    async def run(*_: object) -> Run:
        return Run(next(results))

    monkeypatch.setattr(command, "open_suite", lambda: Suite(tmp_path, {}, CASES))
    monkeypatch.setattr(command, "run", run)
    monkeypatch.setattr(command, "BUILD", tmp_path)
    monkeypatch.setattr("sys.argv", ["compliance", "server", "--repeat", "2"])
    assert status == command.main()
    assert ("NOT AS REQUIRED" in capsys.readouterr().out) == bool(status)


@pytest.mark.parametrize("python", ["/nowhere/python2.7", sys.executable])
def test_without_python_2_7_there_is_no_suite(monkeypatch, tmp_path, python: str) -> None:
    monkeypatch.setattr(suite, "ENVIRONMENT", tmp_path / "nowhere")
    monkeypatch.setenv("PY27", python)
    with pytest.raises(SuiteError, match=f"PY27 is {python}"):
        suite.open_suite()
