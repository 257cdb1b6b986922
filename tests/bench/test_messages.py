"""hubws/bench/messages.py: what is sent."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubws.bench.messages import Fixed, Template, stamp, stamp_of, text_of


@given(st.integers(0, 2**63 - 1), st.text(max_size=20))
def test_a_stamp_is_found_in_whatever_is_around_it(when: int, text: str):
    around = text.replace("~", "")
    assert stamp_of(around + stamp(when) + around) == when
    assert stamp_of((around + stamp(when) + around).encode()) == when


@pytest.mark.parametrize("message", ["", "hello", b"~0~", "~000000000000000g~"])
def test_no_stamp(message: str | bytes):
    assert stamp_of(message) is None


def test_places_are_filled_anew_each_time():
    make = Template('{"id": {number}, "to": {int:3-5}, "text": "{random:8}", "at": {time}}').maker(
        1
    )
    pattern = r'\{"id": (\d+), "to": [345], "text": "[A-Za-z0-9]{8}", "at": \d{13}\}'
    first, second = str(make(0)), str(make(0))
    assert first != second
    assert [re.sub(pattern, r"\1", message) for message in (first, second)] == ["0", "1"]


def test_the_same_seed_makes_the_same_messages():
    template = Template("{random:20} {int:1-1000000}")
    assert template.maker(7)(0) == template.maker(7)(0) != template.maker(8)(0)


def test_a_binary_template_with_a_stamp():
    template = Template("x{stamp}", is_binary=True)
    assert template.has_stamp
    message = template.maker(0)(123)
    assert isinstance(message, bytes)
    assert stamp_of(message) == 123


@pytest.mark.parametrize("text", ["{random}", "{random:x}", "{int:5-3}", "{int:7}", "{time:3}"])
def test_places_that_make_no_sense(text: str):
    with pytest.raises(ValueError, match="makes no sense in a template"):
        Template(text)


def test_braces_around_anything_else_stay():
    assert Template('{"a": {"b": 1}}').maker(0)(0) == '{"a": {"b": 1}}'


@pytest.mark.parametrize("content", ["text", b"\xff\x00"])
def test_a_fixed_message(content: str | bytes):
    assert Fixed(content).maker(3)(0) == content


@pytest.mark.parametrize(("size", "has_stamp"), [(0, False), (100, False), (100, True), (18, True)])
def test_a_text_of_a_size(size: int, has_stamp: bool):
    message = Template(text_of(size, has_stamp=has_stamp)).maker(0)(5)
    assert len(message) == size
    assert (stamp_of(message) == 5) is has_stamp


def test_a_text_of_less_than_nothing():
    with pytest.raises(ValueError, match="0 bytes or more, not -1"):
        text_of(-1)
