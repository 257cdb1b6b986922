"""A topic's history: what it keeps, and what a client that comes back is told."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from hubws import HubwsError, LocalProtocolError
from hubws.hub.history import (
    MAX_OFFSET,
    History,
    HistoryStatistics,
    Position,
    PositionLost,
    Retention,
)


class Clock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


def filled(count: int, **retention: Any) -> History:
    """A history e of the messages "1", "2" and so on."""
    history = History(Retention(**retention), Clock(), "e")
    for number in range(1, count + 1):
        history.append(str(number))
    return history


def offsets(answer: list[tuple[Position, Any]]) -> list[int]:
    return [position.offset for position, _ in answer]


epochs = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)


class TestPosition:
    @given(epochs, st.integers(0, MAX_OFFSET))
    def test_is_read_back(self, epoch: str, offset: int) -> None:
        position = Position(epoch, offset)
        assert str(position) == f"{epoch}:{offset}"
        assert Position.parse(str(position)) == position

    @pytest.mark.parametrize(
        "text",
        [
            "", ":", "e", "e:", ":1", "e:-1", "e:+1", "e:01", "e:1 ", " e:1", "e:1\n", "e:1.0",
            "e:\u0661", "é:1", "a:b:1", f"e:{MAX_OFFSET + 1}", "e:" + "9" * 10_000, "e" * 65 + ":1",
            None, 7, b"e:1", ["e", 1],
        ],
    )  # fmt: skip
    def test_nothing_else_is(self, text: Any) -> None:
        with pytest.raises(ValueError, match="not ") as caught:
            Position.parse(text)
        assert len(str(caught.value)) < 200  # which names the value, but not all of a long one

    @given(st.text())
    def test_any_text_is_read_or_refused(self, text: str) -> None:
        try:
            position = Position.parse(text)
        except ValueError:
            return
        assert str(position) == text

    @pytest.mark.parametrize(
        ("epoch", "offset"),
        [("", 1), ("a:b", 1), ("é", 1), (1, 1), ("e", -1), ("e", 1.0), ("e", True), ("e", None)],
    )
    def test_is_checked(self, epoch: Any, offset: Any) -> None:
        with pytest.raises(ValueError, match=r"(epoch|offset) is .*, not "):
            Position(epoch, offset)


class TestRetention:
    def test_defaults(self) -> None:
        assert Retention() == Retention(messages=1000, seconds=None, bytes=1024 * 1024)
        assert Retention().seconds == math.inf

    @pytest.mark.parametrize("name", ["messages", "bytes"])
    @pytest.mark.parametrize("value", [0, -1, 1.5, True, "10", None])
    def test_counts_are_whole_numbers(self, name: str, value: Any) -> None:
        with pytest.raises(ValueError, match=f"{name} must be .*, not {value!r}"):
            Retention(**{name: value})

    @pytest.mark.parametrize("value", [0, -1, math.nan])
    def test_seconds_are_over_0(self, value: float) -> None:
        with pytest.raises(ValueError, match=f"seconds must be over 0, not {value!r}"):
            Retention(seconds=value)


class TestHistory:
    def test_positions(self) -> None:
        history = filled(0)
        assert history.position == Position("e", 0)
        assert history.next_position == history.append("a") == history.position == Position("e", 1)
        assert history.append(b"b") == Position("e", 2)
        assert history.since(Position("e", 0)) == [
            (Position("e", 1), "a"),
            (Position("e", 2), b"b"),
        ]
        assert history.since(Position("e", 1)) == [(Position("e", 2), b"b")]
        assert history.since(history.position) == []

    def test_epochs_differ(self, clock: Clock) -> None:
        made = {History(Retention(), clock).position for _ in range(100)}
        assert len(made) == 100
        assert all(Position.parse(str(position)) == position for position in made)

    def test_refuses_a_bad_epoch(self, clock: Clock) -> None:
        with pytest.raises(ValueError, match="not 'a b'"):
            History(Retention(), clock, "a b")

    def test_copies_what_may_change(self) -> None:
        history = filled(0)
        buffer = bytearray(b"before")
        history.append(buffer)
        history.append(memoryview(b"a1b2c3")[::2])
        buffer[:] = b"after!"
        assert [message for _, message in history.recent(9)] == [b"before", b"abc"]

    @pytest.mark.parametrize(
        ("message", "error"), [(None, TypeError), (1, TypeError), ("\ud800", LocalProtocolError)]
    )
    def test_what_is_no_message_takes_no_number(self, message: Any, error: type[Exception]) -> None:
        history = filled(1)
        with pytest.raises(error):
            history.append(message)
        assert history.statistics() == filled(1).statistics()

    def test_keeps_so_many_messages(self) -> None:
        history = filled(5, messages=3)
        assert len(history) == 3
        assert offsets(history.since(Position("e", 2))) == [3, 4, 5]
        with pytest.raises(PositionLost):
            history.since(Position("e", 1))

    def test_keeps_so_many_bytes_of_utf_8(self) -> None:
        history = filled(0, bytes=6)
        for message in ("éé", "€", b""):
            history.append(message)
        assert (len(history), history.bytes) == (2, 3)
        history.append("abc")
        assert (len(history), history.bytes) == (3, 6)

    def test_keeps_for_so_many_seconds(self, clock: Clock) -> None:
        history = History(Retention(seconds=10), clock, "e")
        history.append("a")
        clock.time = 4
        history.append("b")
        clock.time = 10
        assert len(history) == 2
        clock.time = 10.5
        assert offsets(history.since(Position("e", 1))) == [2]
        with pytest.raises(PositionLost):
            history.since(Position("e", 0))
        clock.time = 100
        assert (len(history), history.bytes, history.recent(9)) == (0, 0, [])
        assert history.since(Position("e", 2)) == []
        history.append("c")
        assert offsets(history.since(Position("e", 2))) == [3]

    @pytest.mark.parametrize(
        ("ask", "answer"),
        [(len, 0), (lambda it: it.bytes, 0), (lambda it: it.recent(9), []),
         (lambda it: it.statistics().bytes, 0)],
    )  # fmt: skip
    def test_nobody_is_shown_what_is_too_old(
        self, clock: Clock, ask: Callable[[History], object], answer: object
    ) -> None:
        history = History(Retention(seconds=10), clock)
        history.append("a")
        assert ask(history) != answer
        clock.time = 11
        assert ask(history) == answer

    def test_appending_forgets_what_is_too_old(self, clock: Clock) -> None:
        history = History(Retention(seconds=10), clock, "e")
        history.append("a")
        clock.time = 11
        history.append("b")
        clock.time = 0  # from here on nothing is too old
        assert len(history) == 1

    def test_a_message_too_large_is_numbered_and_not_kept(self) -> None:
        history = filled(2, bytes=4)
        assert history.append("large") == Position("e", 3)
        assert (len(history), history.bytes) == (0, 0)
        with pytest.raises(PositionLost):
            history.since(Position("e", 2))
        assert history.since(Position("e", 3)) == []
        history.append("tiny")
        assert offsets(history.since(Position("e", 3))) == [4]

    def test_recent(self) -> None:
        history = filled(5, messages=3)
        assert [offsets(history.recent(count)) for count in (0, 1, 3, 9)] == [
            [], [5], [3, 4, 5], [3, 4, 5],
        ]  # fmt: skip
        with pytest.raises(ValueError, match="-1"):
            history.recent(-1)

    @pytest.mark.parametrize(
        ("asked", "why"),
        [
            (
                Position("f", 4),
                "f:4 is lost: the history began anew; what it knows now is e:2 to e:5",
            ),
            (Position("e", 6), "e:6 is lost: it is ahead of the newest message, e:5"),
            (Position("e", 1), "e:1 is lost: messages after it have been thrown out, up to e:2"),
        ],
    )
    def test_position_lost(self, asked: Position, why: str) -> None:
        history = filled(5, messages=3)
        with pytest.raises(PositionLost, match=why) as caught:
            history.since(asked)
        error = caught.value
        assert isinstance(error, HubwsError)
        assert (error.position, error.oldest, error.newest) == (
            asked, Position("e", 2), Position("e", 5),
        )  # fmt: skip

    def test_statistics(self) -> None:
        history = filled(5, messages=3)
        history.since(Position("e", 3))
        history.since(Position("e", 2))
        with pytest.raises(PositionLost):
            history.since(Position("e", 0))
        assert history.statistics() == HistoryStatistics(
            messages=3, bytes=3, oldest=Position("e", 2), newest=Position("e", 5),
            thrown_out=2, recovered=2, lost=1,
        )  # fmt: skip


class Client:
    """What a client knows: where it is, and every message that it was given."""

    def __init__(self, position: Position) -> None:
        self.position = position
        self.expects = position.offset + 1
        self.is_connected = True

    def take(self, position: Position, message: str | bytes) -> None:
        assert position == Position(self.position.epoch, self.expects)
        assert message_at(position.offset, len(message)) == message
        self.position = position
        self.expects += 1


def message_at(offset: int, size: int) -> str | bytes:
    """Text and binary messages that tell their offset, as far as there is room."""
    message = f"{offset:09}"[::-1][:size].ljust(size, "-")
    return message if offset % 2 else message.encode()


class Histories(RuleBasedStateMachine):
    """Clients come and go and come back, while messages are sent and time passes.

    The model keeps every message ever sent and, when asked, looks for the longest run of the last
    ones that is within the bounds.
    """

    clients = Bundle("clients")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.retention = Retention(messages=4, seconds=10, bytes=12)
        self.log: list[tuple[int, float]] = []
        self.everybody: list[Client] = []
        self.restart()

    @rule()
    def restart(self) -> None:
        """The process starts anew: the history is empty, and all clients are gone."""
        self.history = History(self.retention, self.clock)
        self.log.clear()
        for client in self.everybody:
            client.is_connected = False

    def kept(self) -> int:
        """How many messages should be kept."""
        best = 0
        for count in range(len(self.log) + 1):
            run = self.log[len(self.log) - count :]
            if (
                count <= self.retention.messages
                and sum(size for size, _ in run) <= self.retention.bytes
                and all(self.clock.time - at <= self.retention.seconds for _, at in run)
            ):
                best = count
        return best

    @rule(size=st.integers(0, 14))
    def send(self, size: int) -> None:
        self.log.append((size, self.clock.time))
        message = message_at(len(self.log), size)
        position = self.history.append(message)
        assert position.offset == len(self.log)
        for client in self.everybody:
            if client.is_connected:
                client.take(position, message)

    @rule(seconds=st.integers(0, 12))
    def wait(self, seconds: int) -> None:
        self.clock.time += seconds

    @rule(target=clients)
    def come(self) -> Client:
        client = Client(self.history.position)
        self.everybody.append(client)
        return client

    @rule(client=clients)
    def lose_connection(self, client: Client) -> None:
        client.is_connected = False

    @rule(client=consumes(clients))
    def go(self, client: Client) -> None:
        self.everybody.remove(client)

    @rule(client=clients)
    def come_back(self, client: Client) -> None:
        """It gets exactly what it missed, or is told that this can't be had and begins anew."""
        newest = self.history.position
        is_of_now = client.position.epoch == newest.epoch
        missed = newest.offset - client.position.offset
        try:
            answer = self.history.since(client.position)
        except PositionLost:
            assert not is_of_now or missed > self.kept()
            client.position = newest
            client.expects = newest.offset + 1
        else:
            assert is_of_now
            assert len(answer) == missed
            for position, message in answer:
                client.take(position, message)
        client.is_connected = True
        assert client.position == newest

    @rule(offset=st.integers(0, 30), known=st.booleans())
    def ask_for_any_position(self, offset: int, known: bool) -> None:
        asked = Position(self.history.position.epoch if known else "another", offset)
        newest = len(self.log)
        if known and newest - self.kept() <= offset <= newest:
            expected = list(range(offset + 1, newest + 1))
            assert offsets(self.history.since(asked)) == expected
            assert offsets(self.history.recent(len(expected))) == expected
        else:
            with pytest.raises(PositionLost) as caught:
                self.history.since(asked)
            assert caught.value.oldest.offset == newest - self.kept()

    @invariant()
    def agree(self) -> None:
        kept = self.kept()
        assert self.history.position.offset == len(self.log)
        assert len(self.history) == len(self.history.recent(100)) == kept
        assert self.history.bytes == sum(size for size, _ in self.log[len(self.log) - kept :])
        assert self.history.statistics().thrown_out == len(self.log) - kept


TestHistories = Histories.TestCase
