"""Plans of faults: made from a seed, and taken byte by byte."""

from __future__ import annotations

import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from hubws.testing.plan import Course, Fault, Kind, Plan


def test_same_seed_same_plan() -> None:
    plans = [[Plan.random(random.Random(seed), 9000) for seed in range(300)] for _ in range(2)]
    assert plans[0] == plans[1]
    faults = [fault for plan in plans[0] for fault in plan.to_server + plan.to_client]
    assert {fault.kind for fault in faults} == set(Kind)
    assert all(0 <= fault.at < 9000 for fault in faults)


@given(
    data=st.binary(max_size=500),
    cuts=st.lists(st.integers(0, 500), max_size=10),
    faults=st.lists(
        st.builds(
            Fault,
            at=st.integers(0, 520),
            kind=st.sampled_from(Kind),
            length=st.integers(0, 100),
            size=st.integers(1, 10),
        ),
        max_size=6,
    ),
)
def test_faults_come_after_exactly_their_byte(
    data: bytes, cuts: list[int], faults: list[Fault]
) -> None:
    course = Course(faults)
    edges = [0, *sorted(cuts), len(data)]
    passed = b""
    come = []
    for start, stop in itertools.pairwise(edges):
        for step in course.steps(data[start:stop]):
            if isinstance(step, Fault):
                assert step.at == len(passed)
                come.append(step)
            else:
                assert step
                passed += step
    assert passed == data
    assert come == sorted((f for f in faults if f.at <= len(data)), key=lambda f: f.at)


def test_split_cuts_its_length_and_no_more() -> None:
    course = Course([Fault(3, Kind.SPLIT, length=5, size=2)])
    steps = [step for step in course.steps(b"0123456789abc") if isinstance(step, bytes)]
    assert steps == [b"012", b"34", b"56", b"78", b"9abc"]
