"""What is sent: one message again and again, or each made anew of a template."""

from __future__ import annotations

import itertools
import random
import re
import string
import time
from collections.abc import Callable

import attrs

PLACE = re.compile(r"\{(random|int|number|time|stamp)(?::([^{}]*))?\}")
"""A place in a template; braces around anything else are left as they are."""

STAMP = re.compile(r"~([0-9a-f]{16})~")
_STAMP_IN_BYTES = re.compile(rb"~([0-9a-f]{16})~")
_STAMP_SIZE = 18

_LETTERS = string.ascii_letters + string.digits

Fill = Callable[[int], str]
"""What stands in a place; its argument is when the message is to be sent, in ns."""


def stamp_of(message: str | bytes) -> int | None:
    """When the message was to be sent, in ns of the machine's monotonic clock; None without stamp."""
    found = STAMP.search(message) if isinstance(message, str) else _STAMP_IN_BYTES.search(message)
    return None if found is None else int(found[1], 16)


def stamp(when: int) -> str:
    """The mark by which a receiver knows when a message was to be sent."""
    return f"~{when:016x}~"


Maker = Callable[[int], str | bytes]
"""Makes the next message; its argument is when that is to be sent, in ns."""


@attrs.frozen
class Fixed:
    """One message, text or binary."""

    content: str | bytes

    @property
    def has_stamp(self) -> bool:
        """Whether receivers can tell when it was to be sent."""
        return False

    def maker(self, _seed: int) -> Maker:
        """A function that makes the next message."""
        return lambda _: self.content


@attrs.frozen
class Template:
    """A message with places that are filled anew each time.

    {random:8}: so many random letters and digits; {int:1-100}: a random number, both ends included;
    {number}: 0, 1, 2, ...; {time}: milliseconds since 1970; {stamp}: from which receivers know
    when it was to be sent.
    """

    text: str
    is_binary: bool = False

    def __attrs_post_init__(self) -> None:
        for place in PLACE.finditer(self.text):
            _fill_of(place, random.Random())  # noqa: S311

    @property
    def has_stamp(self) -> bool:
        """Whether receivers can tell when it was to be sent."""
        return any(place[1] == "stamp" for place in PLACE.finditer(self.text))

    def maker(self, seed: int) -> Maker:
        """A function that makes the next message; the same seed makes the same ones."""
        source = random.Random(seed)  # noqa: S311
        parts: list[str | Fill] = []
        end = 0
        for place in PLACE.finditer(self.text):
            parts += [self.text[end : place.start()], _fill_of(place, source)]
            end = place.end()
        parts.append(self.text[end:])

        def make(when: int) -> str:
            return "".join(part if isinstance(part, str) else part(when) for part in parts)

        return (lambda when: make(when).encode()) if self.is_binary else make


def _fill_of(place: re.Match[str], source: random.Random) -> Fill:
    """What fills a place. ValueError for one that makes no sense."""
    name, argument = place[1], place[2]
    if name == "random" and (argument or "").isdecimal():
        size = int(argument)
        return lambda _: "".join(source.choices(_LETTERS, k=size))
    if name == "int" and (ends := re.fullmatch(r"(-?\d+)-(-?\d+)", argument or "")):
        low, high = int(ends[1]), int(ends[2])
        if low <= high:
            return lambda _: str(source.randint(low, high))
    if argument is None:
        if name == "number":
            count = itertools.count()
            return lambda _: str(next(count))
        if name == "time":
            return lambda _: str(time.time_ns() // 1_000_000)
        if name == "stamp":
            return stamp
    raise ValueError(
        f"{place[0]} makes no sense in a template; there are {{random:8}}, {{int:1-100}}, "
        "{number}, {time} and {stamp}"
    )


def text_of(size: int, *, has_stamp: bool = False) -> str:
    """A text, or template, of so many bytes, always the same; a stamp alone has 18 bytes."""
    if size < 0:
        raise ValueError(f"a message has 0 bytes or more, not {size}")
    mark = "{stamp}" if has_stamp else ""
    letters = random.Random(size).choices(_LETTERS, k=max(size - _STAMP_SIZE * has_stamp, 0))  # noqa: S311
    return mark + "".join(letters)
