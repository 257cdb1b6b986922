"""hubws/bench/plan.py: what a load test is to do."""

from __future__ import annotations

from typing import Any

import pytest

from hubws.bench.messages import Fixed
from hubws.bench.plan import Answers, Plan, Share
from hubws.bench.stages import Stage

URL = "ws://127.0.0.1:1/"
TEN = (Stage(10, 0.0), Stage(10, 1.0))


def plan_of(**arguments: Any) -> Plan:
    return Plan(**{"urls": (URL,), "stages": TEN} | arguments)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"urls": ()}, "needs the URL of a server"),
        ({"urls": (URL, "http://x/")}, "must begin with ws:// or wss://"),
        ({"stages": (Stage(0, 1.0),)}, "needs at least one connection"),
        ({"stages": (Stage(10, 0.0),)}, "more than 0 seconds"),
        ({"processes": 0}, "1 to 64 processes, not 0"),
        ({"rate": 0}, "a rate is over 0"),
        ({"rate": float("nan")}, "a rate is over 0"),
        ({"in_flight": 0}, "1 to 1024 messages can be in flight, not 0"),
        ({"in_flight": 1, "rate": 1}, "exclude each other"),
        ({"in_flight": 1, "answers": Answers.NONE}, "need a server that echoes"),
        ({"rate": 1, "answers": Answers.BROADCAST, "message": Fixed("x")}, "stamp"),
        ({"senders": -1}, "0 connections or more can be senders"),
        ({"patience": float("inf")}, "patience is 0 seconds or more"),
    ],
)
def test_what_makes_no_sense(arguments: dict[str, Any], error: str):
    with pytest.raises(ValueError, match=error):
        plan_of(**arguments)


def test_processes_share_the_connections():
    plan = plan_of(processes=3)
    shares = [Share(plan, hand, 3).slots() for hand in range(3)]
    assert [len(share) for share in shares] == [4, 3, 3]
    assert sorted(slot.number for share in shares for slot in share) == list(range(10))


def test_the_first_connections_are_the_senders():
    slots = plan_of(rate=1, senders=3).slots()
    assert [slot.number for slot in slots if slot.sends] == [0, 1, 2]


def test_without_rate_nobody_sends():
    assert not any(slot.sends for slot in plan_of().slots())
