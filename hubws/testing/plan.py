"""What goes wrong on a byte stream and where: faults at any byte of either direction."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator
from enum import StrEnum

import attrs


class Kind(StrEnum):
    """What goes wrong."""

    SPLIT = "split"
    """The next `length` bytes go in pieces of `size`."""
    DELAY = "delay"
    """Nothing passes for `seconds`."""
    STALL = "stall"
    """Nothing passes any more, and nothing says so."""
    END = "end"
    """The stream ends here; the other direction goes on."""
    RESET = "reset"
    """Both directions end with an error."""


@attrs.frozen
class Fault:
    """One thing that goes wrong, after exactly `at` bytes of its direction."""

    at: int
    """In bytes."""
    kind: Kind
    seconds: float = 0.0
    """How many seconds a delay lasts."""
    length: int = 0
    """For how many bytes a stream is split."""
    size: int = 1
    """Of each piece of what is split, in bytes."""


@attrs.frozen
class Plan:
    """What goes wrong on one connection."""

    to_server: tuple[Fault, ...] = ()
    """To what the client sends, in the order of their bytes."""
    to_client: tuple[Fault, ...] = ()
    """To what the server sends."""

    @classmethod
    def random(
        cls, chance: random.Random, horizon: int, *, ends: float = 0.5, seconds: float = 0.02
    ) -> Plan:
        """Some splits and delays in both directions, and perhaps one fault that ends it all.

        Args:
            chance: the source of randomness: the same seed makes the same plan.
            horizon: faults lie within that many bytes.
            ends: how likely it is that a stall, an end or a reset comes.
            seconds: the longest delay.

        """
        directions: list[list[Fault]] = [[], []]
        for faults in directions:
            for _ in range(chance.randrange(4)):
                at = chance.randrange(horizon)
                if chance.random() < 0.5:
                    faults.append(Fault(at, Kind.DELAY, seconds=chance.uniform(0, seconds)))
                else:
                    size = chance.choice((1, 1, 2, 7, 1000))
                    length = size * chance.randrange(1, 60)
                    faults.append(Fault(at, Kind.SPLIT, length=length, size=size))
        if chance.random() < ends:
            kind = chance.choice((Kind.RESET, Kind.RESET, Kind.RESET, Kind.END, Kind.STALL))
            # the handshake is short, and its every byte worth an accident
            at = chance.randrange(chance.choice((600, horizon, horizon, horizon)))
            chance.choice(directions).append(Fault(at, kind))
        return cls(tuple(directions[0]), tuple(directions[1]))


class Course:
    """One direction of a stream on its way through its faults."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._faults = deque(sorted(faults, key=lambda fault: fault.at))
        self._split_until = 0
        self._size = 0
        self.passed = 0

    def steps(self, data: bytes | bytearray | memoryview) -> Iterator[bytes | Fault]:
        """The pieces of the data and the faults between them, in the order in which they come."""
        left = memoryview(data)
        while True:
            while self._faults and self._faults[0].at <= self.passed:
                fault = self._faults.popleft()
                if fault.kind is Kind.SPLIT:
                    self._split_until = self.passed + fault.length
                    self._size = fault.size
                yield fault
            if not left:
                return
            n = len(left)
            if self._faults:
                n = min(n, self._faults[0].at - self.passed)
            if self.passed < self._split_until:
                n = min(n, self._size)
            piece, left = bytes(left[:n]), left[n:]
            self.passed += n
            yield piece
