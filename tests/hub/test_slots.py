"""Slots: even, each served once an interval, whoever comes and goes."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from hubws.hub.slots import Slots


def gaps(slots: list[float]) -> list[float]:
    order = sorted(slots)
    return [b - a for a, b in zip(order, [*order[1:], order[0] + 1], strict=True)]


@given(count=st.integers(1, 3000))
def test_spread_evenly_however_many(count: int) -> None:
    slots = Slots[int](10, 0)
    found = gaps([slots.add(number) for number in range(count)])
    assert len({round(gap, 9) for gap in found}) <= 3
    assert max(found) <= 2.62 / (count + 1)  # the golden ratio, and one more


@given(start=st.floats(0, 1e9), interval=st.floats(0.01, 3600), count=st.integers(1, 50))
def test_each_once_an_interval_at_its_time(start: float, interval: float, count: int) -> None:
    slots = Slots[int](interval, start)
    at = {number: slots.add(number) for number in range(count)}
    now = start
    served: dict[int, list[float]] = {number: [] for number in range(count)}
    while now < start + 3.5 * interval:
        now = max(slots.next_time(), now + slots.slice)
        for number in slots.due(now):
            served[number].append(now)
    late = 3 * slots.slice + 1e-5  # more than one may fall due together
    for number, times in served.items():
        for index, time in enumerate(times, start=1 if at[number] == 0 else 0):
            assert -1e-5 <= time - (start + (index + at[number]) * interval) <= late
        assert len(times) in {3, 4}


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.just(0.0)),
            st.tuples(st.just("remove"), st.floats(0, 1, exclude_max=True)),
            st.tuples(st.just("wait"), st.floats(0, 25)),
        ),
        max_size=200,
    )
)
def test_whoever_comes_and_goes(steps: list[tuple[str, float]]) -> None:
    """With calls every slice, nobody waits longer than an interval, or is served twice within it."""
    slots, now, numbers = Slots[int](10, 0), 0.0, iter(range(1000))
    held: dict[int, float] = {}
    since: dict[int, float] = {}  # it came, or was served
    has_been_served: set[int] = set()
    for step, value in steps:
        if step == "add":
            number = next(numbers)
            held[number] = slots.add(number)
            since[number] = now
        elif step == "remove" and held:
            number = list(held)[int(value * len(held))]
            slots.remove(held.pop(number))
        elif step == "wait":
            end = now + value
            while now < end:
                now += slots.slice
                for number in slots.due(now):
                    assert number in held
                    assert (
                        number not in has_been_served or now - since[number] > 10 - 2 * slots.slice
                    )
                    has_been_served.add(number)
                    since[number] = now
                for number in held:
                    assert now - since[number] < 10 + 2 * slots.slice
        assert len(slots) == len(held)


def test_late_calls_catch_up_without_a_burst() -> None:
    slots = Slots[int](10, 0)
    for number in range(10_000):
        slots.add(number)
    usual = 10_000 * slots.slice / 10
    now, served = 0.0, []
    while now < 5:
        now += slots.slice
        served += slots.due(now)
    now += 2  # nobody called
    batches = []
    while not batches or len(batches[-1]) > 1.5 * usual:
        now += slots.slice
        batches.append(slots.due(now))
        served += batches[-1]
    assert max(map(len, batches)) <= 2 * usual + 1
    while now + slots.slice < 10:
        now += slots.slice
        served += slots.due(now)
    assert len(served) == len(set(served)) >= 10_000 - 2 * usual


def test_what_is_late_by_more_than_an_interval_is_left_out() -> None:
    slots = Slots[str](10, 0)
    for name in "abc":
        slots.add(name)
    slots.due(0)
    served = [slots.due(95 + index * slots.slice) for index in range(10)]
    assert sorted(name for names in served for name in names) == ["a", "b", "c"]


def test_a_slot_that_was_given_back_is_given_again() -> None:
    slots = Slots[str](10, 0)
    first = [slots.add(name) for name in "abcd"]
    slots.remove(first[2])
    slots.remove(first[1])
    assert [slots.add(name) for name in "ef"] == [first[1], first[2]]


def test_nobody() -> None:
    slots = Slots[str](10, 0)
    assert slots.due(1000) == []
    assert slots.next_time() == math.inf
