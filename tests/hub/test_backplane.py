"""The backplane within a process: one order for all, whatever hubs do when something comes."""

from __future__ import annotations

from typing import Any

from hubws import Position, Retention
from hubws.hub.backplane import LocalBackplane, LocalLink, Receiver


class Notes(Receiver):
    """Writes down what comes, and answers the first thing that does."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.link: LocalLink
        self.answers = False

    def take(self, origin: str, channel: str, body: bytes) -> None:
        self.said.append((origin, channel, body))
        if self.answers:
            self.answers = False
            self.link.send("a", b"answer")

    def take_numbered(self, channel: str, position: Position, body: bytes) -> None:
        self.said.append((position.offset, body))
        if self.answers:
            self.answers = False
            self.link.number("a", b"answer", Retention())

    def followed(self, channel: str) -> None:
        self.said.append(f"followed {channel}")

    def gone(self, origin: str) -> None:
        self.said.append(f"{origin} is gone")

    def linked(self) -> None:
        self.said.append("linked")

    def away(self, why: str) -> None:
        raise AssertionError(why)


def three(backplane: LocalBackplane) -> list[Notes]:
    found = []
    for _ in range(3):
        notes = Notes()
        notes.link = backplane.link(notes)
        found.append(notes)
    return found


async def test_all_see_one_order_whoever_answers() -> None:
    one, two, other = three(backplane := LocalBackplane())
    async with one.link, two.link, other.link:
        for notes in (one, two, other):
            notes.link.follow("a")
            assert notes.said == ["linked", "followed a"]
            notes.said.clear()
        one.answers = two.answers = True  # the second answers before the third has the question
        two.link.number("a", b"question", Retention())
        expected = [(1, b"question"), (2, b"answer"), (3, b"answer")]
        assert [one.said, two.said, other.said] == [expected] * 3
        two.said.clear()
        two.answers = True
        one.link.send("a", b"question")
        assert two.said == [("hub-1", "a", b"question")]
        assert other.said[3:] == [("hub-1", "a", b"question"), ("hub-2", "a", b"answer")]
        await one.link.flush()
    assert other.said[-1] == ("hub-2", "a", b"answer")
    assert one.said[-2:] == ["hub-3 is gone", "hub-2 is gone"]
    assert backplane.link(Notes()).name == "hub-4"


async def test_reading() -> None:
    (one, *_) = three(LocalBackplane(max_histories=2))
    async with one.link:
        kept = Retention(messages=2)
        for number in range(3):
            one.link.number("a", b"%d" % number, kept)
        stored = await one.link.read("a", None, kept)
        assert (stored.newest.offset, stored.oldest.offset, stored.messages) == (3, 1, [])
        epoch = stored.newest.epoch
        stored = await one.link.read("a", Position(epoch, 1), kept)
        assert stored.messages == [(Position(epoch, 2), b"1"), (Position(epoch, 3), b"2")]
        assert (await one.link.read("a", Position(epoch, 0), kept)).messages == []
        for name in "bc":
            one.link.number(name, b"x", kept)
        assert (await one.link.read("a", None, kept)).newest.epoch != epoch  # forgotten
