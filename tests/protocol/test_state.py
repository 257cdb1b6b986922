"""States, the table of their changes, and how a connection's end is told."""

from __future__ import annotations

import itertools

import attrs
import pytest

from hubws.errors import ConnectionClosed, RemoteProtocolError
from hubws.protocol.state import TRANSITIONS, Change, Close, Closure, State

FORBIDDEN = {
    (State.CONNECTING, Change.CLOSE_SENT),
    (State.CONNECTING, Change.CLOSE_RECEIVED),
    (State.OPEN, Change.OPENED),
    (State.CLOSING, Change.OPENED),
    (State.CLOSED, Change.OPENED),
    (State.CLOSED, Change.CLOSE_SENT),
    (State.CLOSED, Change.CLOSE_RECEIVED),
}


class TestTransitions:
    def test_every_pair_is_in_the_table_or_forbidden(self) -> None:
        assert set(TRANSITIONS) | FORBIDDEN == set(itertools.product(State, Change))
        assert not set(TRANSITIONS) & FORBIDDEN

    @pytest.mark.parametrize(("state", "change"), sorted(FORBIDDEN, key=str))
    def test_forbidden(self, state: State, change: Change) -> None:
        with pytest.raises(KeyError):
            TRANSITIONS[state, change]

    def test_the_stream_may_always_end(self) -> None:
        assert {TRANSITIONS[state, Change.STREAM_ENDED] for state in State} == {State.CLOSED}

    def test_nothing_goes_back(self) -> None:
        order = list(State)
        for (before, _), after in TRANSITIONS.items():
            assert order.index(after) >= order.index(before)

    def test_every_state_can_be_reached(self) -> None:
        assert {State.CONNECTING, *TRANSITIONS.values()} == set(State)


NORMAL = Close(1000, "bye")


class TestClosure:
    """RFC 6455 §7.1.4 to §7.1.6."""

    def test_no_close_frame(self) -> None:
        closure = Closure()
        assert (closure.code, closure.reason) == (1006, "")
        assert not closure.clean
        assert not closure.normal
        assert str(closure) == "no close frame came"

    def test_the_peers_frame_counts(self) -> None:
        closure = Closure(received=Close(4000, "theirs"), sent=Close(1000, "ours"))
        assert (closure.code, closure.reason) == (4000, "theirs")
        assert closure.clean
        assert not closure.normal

    def test_an_error_is_the_reason_where_no_frame_came(self) -> None:
        error = RemoteProtocolError("opcode 0x3 is reserved")
        closure = Closure(sent=Close(1002, "opcode 0x3 is reserved"), error=error)
        assert (closure.code, closure.reason) == (1006, "opcode 0x3 is reserved")
        assert str(closure) == (
            "this side closed with 1002 (protocol error): opcode 0x3 is reserved; "
            "no close frame came; RemoteProtocolError: opcode 0x3 is reserved"
        )

    @pytest.mark.parametrize(
        ("closure", "clean"),
        [
            (Closure(received=NORMAL, sent=NORMAL), True),
            (Closure(received=NORMAL), False),
            (Closure(sent=NORMAL), False),
            (Closure(received=NORMAL, sent=NORMAL, undelivered=1), False),
            (Closure(received=NORMAL, sent=NORMAL, unreceived=1), True),
        ],
    )
    def test_clean(self, closure: Closure, clean: bool) -> None:
        assert closure.clean is clean

    @pytest.mark.parametrize(
        ("code", "normal"),
        [(1000, True), (1001, True), (1005, True), (1002, False), (1011, False), (4000, False)],
    )
    def test_normal(self, code: int, normal: bool) -> None:
        closure = Closure(received=Close(code), sent=NORMAL)
        assert closure.normal is normal
        assert not attrs.evolve(closure, error=OSError("broken")).normal
        assert not attrs.evolve(closure, sent=None).normal
        assert not attrs.evolve(closure, unreceived=1).normal

    @pytest.mark.parametrize(
        ("reason", "seconds"),
        [
            ("going away; retry-after=2.5", 2.5),
            ("going away; retry-after=0.0", 0.0),
            ("retry-after=120", 120.0),
            ("one; two;\nthree; retry-after=7", 7.0),
            ("going away", None),
            ("", None),
            ("retry-after=", None),
            ("retry-after=2.", None),
            ("retry-after=-1", None),
            ("retry-after=1e9", None),
            ("retry-after=1234567890", None),
            ("retry-after=nan", None),
            ("retry-after=2.5 or so", None),
            ("no-retry-after=2.5", None),
        ],
    )
    def test_retry_after(self, reason: str, seconds: float | None) -> None:
        assert Closure(received=Close(1001, reason)).retry_after == seconds
        assert Closure(sent=Close(1001, reason), error=OSError(reason)).retry_after is None

    @pytest.mark.parametrize(
        ("close", "words"),
        [
            (Close(1001, "bye"), "1001 (going away): bye"),
            (Close(1005), "1005 (no status)"),
            (Close(2999), "2999 (unknown)"),
            (Close(3000), "3000 (application)"),
            (Close(4999, "x"), "4999 (application): x"),
            (Close(1016), "1016 (unknown)"),
        ],
    )
    def test_words(self, close: Close, words: str) -> None:
        assert str(Closure(received=close)) == f"the peer closed with {words}"

    def test_all_of_it_in_words(self) -> None:
        closure = Closure(NORMAL, Close(1000), OSError("broken"), 3, 2)
        assert str(closure) == (
            "the peer closed with 1000 (normal): bye; this side closed with 1000 (normal); "
            "OSError: broken; 3 messages were not delivered; "
            "2 messages came after closing, and nobody took them"
        )

    def test_connection_closed_carries_it(self) -> None:
        closure = Closure(received=NORMAL)
        error = ConnectionClosed(closure)
        assert (error.closure, error.code, error.reason) == (closure, 1000, "bye")
        assert str(error) == "the peer closed with 1000 (normal): bye"
