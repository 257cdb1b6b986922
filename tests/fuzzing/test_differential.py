"""hubws, wsproto and websockets read the same streams in the same way, but for what has a reason."""

from __future__ import annotations

from random import Random
from types import ModuleType

import pytest

from fuzzing import differential
from fuzzing.differential import RULES, Case, Failure, Rule, compare, make_case
from hubws.protocol.deflate import DeflateParameters
from hubws.protocol.frames import FIN, RSV1, Frame

STREAMS = 1_500  # on each codec; `python fuzzing/differential.py` takes as many as one likes
DEFLATE = DeflateParameters()


def wire(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv1: bool = False) -> bytes:
    """A frame from a server."""
    return Frame(opcode=opcode, payload=payload, fin=fin, rsv1=rsv1).to_bytes()


# a stream for each rule that it is the shortest reason for
EXAMPLES = {
    "header-whole": (None, b"\x83\x7e"),
    "header-first": (None, b"\x91\x05"),
    "order-first": (None, b"\x80\x05"),
    "non-minimal": (None, b"\x82\x7e\x00\x01x"),
    "size-first": (None, b"\x89\x7e\xff\xff"),
    "text-at-once": (None, wire(1, b"\xff", fin=False)),
    "surrogate-at-once": (None, wire(1, b"\xed\xa0", fin=False)),
    "reason-first": (None, wire(8, b"\x03\xed\xff")),
    "close-1014": (None, wire(8, b"\x03\xf6")),
    "close-in-message": (None, wire(2, fin=False) + wire(8)),
    "no-limit": (None, wire(2, bytes(1001))),
    "deflate-code": (DEFLATE, wire(2, b"\xff", rsv1=True)),
    "deflate-at-once": (DEFLATE, bytes([FIN | RSV1 | 2, 5, 0xFF])),
    "deflate-size": (DEFLATE, wire(2, bytes([1, *(1100).to_bytes(2, "little")]) * 400, rsv1=True)),
    "deflate-control": (
        DEFLATE,
        wire(1, b"\xf2", fin=False, rsv1=True) + wire(9) + wire(0, b"\x48\xcd\xc9\xc9\x07\x00"),
    ),
    "deflate-final": (DEFLATE, wire(2, bytes.fromhex("f348cdc9c90700f248cdc9c90700"), rsv1=True)),
    "deflate-empty": (DEFLATE, wire(2, rsv1=True)),
}


@pytest.mark.usefixtures("both_codecs")
class TestDifferences:
    def test_of_random_streams_are_explained(self, codec: ModuleType) -> None:
        random = Random(2)
        kinds = set()
        for _ in range(STREAMS):
            kind, case = make_case(random)
            kinds.add(kind)
            for difference, rule in compare(case):
                assert rule is not None, f"{kind}: {difference}"
                if kind in ("sent", "valid"):
                    assert rule.name == "deflate-control", f"{kind}: {difference}"
        assert kinds == {"sent", "valid", "mutated", "noise"}

    @pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
    def test_have_an_example_for_every_rule(self, rule: Rule) -> None:
        agreed, stream = EXAMPLES[rule.name]
        found = {
            (difference.peer, reason.name)
            for difference, reason in compare(Case(True, agreed, [stream]))
            if reason is not None
        }
        assert found >= {(peer, rule.name) for peer in rule.peers}

    def test_are_seen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        case = Case(True, None, [wire(1, b"Hello")])
        assert list(compare(case)) == []
        monkeypatch.setitem(differential.PEERS, "wsproto", lambda _: iter(["Hallo"]))
        monkeypatch.setitem(differential.PEERS, "websockets", lambda _: iter([Failure(1002, "no")]))
        differences = list(compare(case))
        assert [difference.theirs for difference, _ in differences] == [
            "Hallo",
            Failure(1002, "no"),
        ]
        assert [rule for _, rule in differences] == [None, None]
