"""What a load test is to do."""

from __future__ import annotations

import math
from enum import Enum
from pathlib import Path
from typing import Any

import attrs

from ..connection.settings import Settings
from ..protocol.address import Address
from .messages import Fixed, Template
from .stages import Interval, Stage, intervals_of

MAX_PROCESSES = 64

HELLO = Fixed("hello")

MAX_RATE = 1_000_000
"""Messages a second that one connection may be asked to send."""


class Answers(Enum):
    """What the server makes of a message."""

    ECHO = "echo"
    """One message, to its sender, in the order of the messages."""
    BROADCAST = "broadcast"
    """A message with the same stamp, to whomever."""
    NONE = "none"
    """Nothing that has to do with it."""


@attrs.frozen(kw_only=True)
class Plan:
    """What a load test is to do. ValueError for what makes no sense.

    Args:
        urls: of the servers; connections take them in turns.
        stages: how many connections there are at what time.
        rate: messages a second that each connection is to send, at times that are set in advance.
        in_flight: messages that each connection keeps on their way, in place of a rate.
        message: what is sent.
        answers: what the server makes of it.
        senders: how many of the connections send; None for all.
        scenario: a Python file that says what a user does, in place of all that.
        processes: that share the connections.
        patience: seconds for what is on its way at the end, or for a scenario to come to its end.
        connect: more arguments of `connect`.

    """

    urls: tuple[str, ...]
    stages: tuple[Stage, ...]
    rate: float | None = None
    in_flight: int | None = None
    message: Fixed | Template = HELLO
    answers: Answers = Answers.ECHO
    senders: int | None = None
    scenario: Path | None = None
    processes: int = 1
    patience: float = 2.0
    connect: dict[str, Any] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if not self.urls:
            raise ValueError("a load test needs the URL of a server")
        for url in self.urls:
            Address.from_url(url)
        if not any(stage.target for stage in self.stages):
            raise ValueError("a load test needs at least one connection")
        if not self.seconds > 0:
            raise ValueError("a load test must take more than 0 seconds")
        if not 1 <= self.processes <= MAX_PROCESSES:
            raise ValueError(f"there can be 1 to {MAX_PROCESSES} processes, not {self.processes}")
        if self.rate is not None and not 0 < self.rate <= MAX_RATE:
            raise ValueError(
                f"a rate is over 0 and at most {MAX_RATE} messages a second, not {self.rate:g}"
            )
        if (self.rate is not None) + (self.in_flight is not None) + (self.scenario is not None) > 1:
            raise ValueError("a rate, messages in flight and a scenario exclude each other")
        if self.senders is not None and self.senders < 0:
            raise ValueError(f"0 connections or more can be senders, not {self.senders}")
        if not 0 <= self.patience < math.inf:
            raise ValueError(f"patience is 0 seconds or more, not {self.patience:g}")
        self._check_in_flight()
        if self.answers is Answers.BROADCAST and self.rate and not self.message.has_stamp:
            raise ValueError(
                "a broadcast is measured by the {stamp} of its messages; there is none"
            )

    def _check_in_flight(self) -> None:
        if self.in_flight is None:
            return
        limit = Settings().outbox_messages
        if not 1 <= self.in_flight <= limit:
            raise ValueError(f"1 to {limit} messages can be in flight, not {self.in_flight}")
        if self.answers is not Answers.ECHO:
            raise ValueError("messages in flight need a server that echoes them")

    @property
    def seconds(self) -> float:
        """How long it takes, but for what is on its way at the end."""
        return sum(stage.seconds for stage in self.stages)

    def slots(self) -> list[Slot]:
        """A place for each connection, by their beginning."""
        return [
            Slot(number, interval, self._sends(number))
            for number, interval in enumerate(intervals_of(self.stages))
        ]

    def _sends(self, number: int) -> bool:
        if self.rate is None and self.in_flight is None:
            return False
        return self.senders is None or number < self.senders


@attrs.frozen
class Slot:
    """A place for one connection at a time, or for one user of a scenario."""

    number: int
    interval: Interval
    sends: bool


@attrs.frozen
class Share:
    """What one of several processes has to do of a plan."""

    plan: Plan
    hand: int
    hands: int

    def slots(self) -> list[Slot]:
        """Those that fall to this process, dealt out in turns."""
        return self.plan.slots()[self.hand :: self.hands]
