"""Whether what the suite measured is what is required: every case, in the worst of all runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import attrs

from .suite import Judgement

INFORMATIONAL = {"7.1.6", "7.13.1", "7.13.2"}
"""The suite has no opinion on these: every outcome is INFORMATIONAL."""

BEHAVIORS = ("OK", "INFORMATIONAL", "NON-STRICT", "UNIMPLEMENTED", "FAILED", "MISSING")
"""From best to worst; MISSING is our word for a case that has left no report."""

CLEAN = {"OK", "INFORMATIONAL"}
"""How a connection may end. The other words are WRONG CODE, UNCLEAN, FAILED BY CLIENT and FAILED."""

MISSING = Judgement("MISSING", "MISSING")


@attrs.frozen
class Run:
    """One run of some cases."""

    judgements: Mapping[str, Judgement]
    """By the case's name."""
    problems: Sequence[str] = ()
    """What was wrong besides, such as a program that ended with an exception."""


@attrs.frozen
class Deviation:
    """A case that is not as required in some run."""

    case: str
    behaviors: list[str]
    """In each run."""
    closes: list[str]


@attrs.frozen
class Verdict:
    """The worst of some runs of the same cases."""

    runs: int
    counts: dict[str, int]
    """How many cases behaved how; all words of `BEHAVIORS`."""
    clean_closes: int
    deviations: list[Deviation]
    problems: list[str]

    @property
    def is_met(self) -> bool:
        """Whether every case was as required in every run, and nothing else was wrong."""
        return self.runs > 0 and not self.deviations and not self.problems


def is_as_required(case: str, judgement: Judgement) -> bool:
    """Whether a case behaved as it must and its connection ended as it must."""
    required = "INFORMATIONAL" if case in INFORMATIONAL else "OK"
    return judgement.behavior == required and judgement.close in CLEAN


def judge(cases: Sequence[str], runs: Sequence[Run]) -> Verdict:
    """Take the worst of the runs for each case, whether it has left a report or not."""
    counts = Counter(dict.fromkeys(BEHAVIORS, 0))
    clean = 0
    deviations = []
    for case in cases:
        judgements = [run.judgements.get(case, MISSING) for run in runs] or [MISSING]
        behaviors = [one.behavior for one in judgements]
        closes = [one.close for one in judgements]
        counts[max(behaviors, key=_badness)] += 1
        clean += CLEAN.issuperset(closes)
        if not all(is_as_required(case, one) for one in judgements):
            deviations.append(Deviation(case, behaviors, closes))
    problems = [problem for run in runs for problem in run.problems]
    return Verdict(len(runs), dict(counts), clean, deviations, problems)


def _badness(behavior: str) -> int:
    """The place in BEHAVIORS; a word that nobody knows is the worst."""
    return BEHAVIORS.index(behavior) if behavior in BEHAVIORS else len(BEHAVIORS)
