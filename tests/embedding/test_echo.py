"""hubws/embedding/echo.py: questions, answers, and messages that are neither."""

from __future__ import annotations

import json

import pytest

from hubws.embedding.echo import Echo


def test_the_answer_to_a_question():
    question = Echo().question(b"\x00payload\xff")
    assert isinstance(question, str)
    assert json.loads(question) == {"hubws": "ping", "payload": "007061796c6f6164ff"}
    assert question.startswith('{"hubws": "ping"')  # as the lines for a browser have it
    assert Echo().answered(question.replace("ping", "pong")) == b"\x00payload\xff"


@pytest.mark.parametrize(
    "message",
    [
        "hello",
        b'{"hubws": "pong", "payload": "00"}',
        '{"hubws": "ping", "payload": "00"}',
        '{"hubws": "pong", "payload": "0"}',
        '{"hubws": "pong", "payload": 7}',
        '{"hubws": "pong"}',
        '{"hubws": "pong", "payload": "00"',
        '{"hubws": "pong", "payload": "%s"}' % ("00" * 126),
        '{"hubws": "' + "[" * 100_000,
    ],
)
def test_all_else_is_the_application_s(message: str | bytes):
    assert Echo().answered(message) is None
