"""How an input is fed to what reads it, and how much that may keep of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from random import Random
from typing import TypeVar
from zlib import crc32

STEPS = 4000
"""The most pieces of an input; one that is longer is not fed byte by byte but in small steps."""

Outcome = TypeVar("Outcome")


def cut(data: bytes, random: Random, most: int = 8) -> list[bytes]:
    """The same bytes in random pieces, some of them empty."""
    cuts = sorted(random.randint(0, len(data)) for _ in range(random.randint(1, most)))
    return [data[start:end] for start, end in pairwise([0, *cuts, len(data)])]


def ways(data: bytes) -> Iterator[list[bytes]]:
    """The same bytes byte by byte, and in random pieces; for one input always the same ones."""
    step = len(data) // STEPS + 1
    yield [data[at : at + step] for at in range(0, len(data), step)]
    random = Random(crc32(data))
    yield cut(data, random)
    yield cut(data, random)


def check_ways(data: bytes, read: Callable[[Sequence[bytes]], Outcome]) -> Outcome:
    """Read the data whole and in every way of cutting it: the outcome must be the same."""
    whole = read([data])
    for pieces in ways(data):
        outcome = read(pieces)
        assert outcome == whole, f"whole: {whole!r}, in {len(pieces)} pieces: {outcome!r}"
    return whole


def held(thing: object) -> int:
    """How many bytes and characters an object of hubws keeps, in itself and in what it is made of."""
    if isinstance(thing, bytes | bytearray | str):
        return len(thing)
    if isinstance(thing, list | tuple):
        return sum(map(held, thing))
    if not type(thing).__module__.startswith("hubws."):
        return 0
    names = {name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())}
    return sum(
        held(getattr(thing, name, None)) for name in {*names, *getattr(thing, "__dict__", ())}
    )
