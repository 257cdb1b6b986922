"""The native codec and the pure one return the same, or raise the same error with the same words.

So it is for every function of theirs, whatever the arguments of the right types.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from random import Random
from typing import Any
from zlib import crc32

from fuzzing.targets import codec

FUNCTIONS = ("decode", "encode_message", "encode_frame", "mask")


def outcome(function: Callable[..., Any], *arguments: object) -> tuple[str, object]:
    """What a call returns or raises."""
    try:
        return "returned", function(*arguments)
    except Exception as error:  # noqa: BLE001 - to be compared
        return type(error).__name__, str(error)


def check(data: bytes) -> None:
    """The first bytes say the function and its arguments; the others are its data."""
    native, pure = map(import_module, ("hubws.protocol._native", "hubws.protocol._codec"))
    option, content = (data[0], data[1:]) if data else (0, b"")
    random = Random(crc32(data))
    size = len(content)
    start = random.choice([0, 0, 0, 1, -1, random.randint(0, size)])
    end = random.choice([size, size, size, size + 1, -1, random.randint(0, size)])
    key = random.choice([None, content[:4], random.randbytes(4), b"abc", bytearray(4)])
    text = content.decode("utf-16-le", errors="surrogatepass" if size % 2 == 0 else "replace")
    container = random.choice([bytes, bytearray, memoryview])
    payload = random.choice([text, container(content), memoryview(content)[::-1], size])
    limit = random.choice([0, 10, size, 2**40, 2**63 - 1, -1])
    arguments: tuple[object, ...] = {
        "decode": (container(content), start, end, bool(option & 4), limit),
        "encode_message": (payload, key),
        "encode_frame": (random.choice([0, 0x81, 255, 256, -1]), payload, key),
        "mask": (container(content), start, end, key, random.choice([0, 1, 2, 3, 7, -1, 2**62])),
    }[name := FUNCTIONS[option & 3]]
    native_outcome = outcome(getattr(native, name), *arguments)
    pure_outcome = outcome(getattr(pure, name), *arguments)
    assert native_outcome == pure_outcome, f"{name}: {native_outcome!r}, not {pure_outcome!r}"


def seeds() -> list[bytes]:
    """Those of the codec for decode, and something for the others."""
    some = [bytes([4 * (seed[0] & 1)]) + seed[1:] for seed in codec.seeds()]
    return some + [bytes([function]) + content for function in (1, 2, 3) for content in some[:4]]
