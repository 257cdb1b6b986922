"""A text message is refused at the first byte that can't be part of UTF-8, and at no other.

So it is in whatever pieces it comes (RFC 6455 §8.1), and what is accepted is what Python decodes.
"""

from __future__ import annotations

from fuzzing.feeding import ways
from fuzzing.traffic import TEXTS
from hubws.errors import RemoteProtocolError
from hubws.protocol.frames import Opcode
from hubws.protocol.messages import PartialMessage


def bad_at(data: bytes) -> int | None:
    """How many bytes it takes to see that they are not UTF-8; None where more might make them so."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":
            return None
        # the decoder names the character; it is its last byte that is wrong
        start = error.start
        for end in range(start + 1, len(data) + 1):
            try:
                data[start:end].decode()
            except UnicodeDecodeError as inner:
                if inner.reason != "unexpected end of data":
                    return end
        raise AssertionError("a character that is wrong is wrong at one of its bytes") from error
    return None


def check(data: bytes) -> None:
    """All of the input is the text."""
    expected = bad_at(data)
    for pieces in (*ways(data), [data]):
        message = PartialMessage(Opcode.TEXT, len(data))
        fed = 0
        for piece in pieces:
            try:
                message.feed(piece)
            except RemoteProtocolError as error:
                assert error.code == 1007
                assert expected is not None
                assert fed < expected <= fed + len(piece)
                break
            fed += len(piece)
        else:
            assert expected is None
            try:
                text = message.finish()
            except RemoteProtocolError as error:
                assert error.code == 1007
                text = None
            assert text == whole(data)


def whole(data: bytes) -> str | None:
    """What Python decodes, None where it does not."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def seeds() -> list[bytes]:
    """Characters of every length, the ends of their ranges, and what lies just behind them."""
    ends = "\x7f\x80\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff".encode(
        errors="surrogatepass"
    )
    wrong = ["80", "c080", "c1bf", "e08080", "eda080", "edbfbf", "f0808080", "f4908080", "f5", "fe"]
    return [*(text.encode() for text in TEXTS), ends, *(b"a" + bytes.fromhex(bad) for bad in wrong)]
