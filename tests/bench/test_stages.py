"""hubws/bench/stages.py: how many connections there are at what time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubws.bench.stages import Interval, Stage, intervals_of, seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("1m30s", 90), ("500ms", 0.5), ("2.5", 2.5), ("1h", 3600), ("0", 0)],
)
def test_durations(text: str, seconds: float):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "30x", "-1", "inf", "nan", "1m 30s"])
def test_no_durations(text: str):
    with pytest.raises(ValueError, match="duration"):
        seconds_of(text)


def test_a_stage_as_people_write_it():
    assert Stage.from_text("100:30s") == Stage(100, 30.0)


@pytest.mark.parametrize("text", ["100", "x:30s", "-1:30s", "100:", "1.5:3s", "2000000:1s"])
def test_no_stages(text: str):
    with pytest.raises(ValueError, match=r"stage|duration"):
        Stage.from_text(text)


def test_up_level_and_down():
    stages = [Stage(4, 2.0), Stage(4, 10.0), Stage(2, 2.0), Stage(2, 1.0)]
    assert intervals_of(stages) == [
        Interval(0.0, 15.0),
        Interval(0.5, 15.0),
        Interval(1.0, 14.0),
        Interval(1.5, 13.0),
    ]


def test_all_at_once():
    assert intervals_of([Stage(3, 0.0), Stage(3, 5.0)]) == [Interval(0.0, 5.0)] * 3


stages = st.lists(st.builds(Stage, st.integers(0, 50), st.integers(0, 20).map(float)), max_size=6)


@given(stages)
def test_at_the_end_of_each_stage_there_are_as_many_as_it_says(stages: list[Stage]):
    intervals = intervals_of(stages)
    end = 0.0
    for number, stage in enumerate(stages):
        end += stage.seconds
        later = stages[number + 1 :]
        if stage.seconds and (not later or later[0].seconds):
            there = [one for one in intervals if one.start < end - 1e-6 and one.stop >= end - 1e-6]
            assert len(there) >= stage.target
    assert all(0 <= one.start <= one.stop <= end + 1e-6 for one in intervals)
