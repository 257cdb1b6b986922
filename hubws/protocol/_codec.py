"""The codec in pure Python: the readable specification of `_native.c`.

`decode` takes whole, valid, unfragmented messages off a buffer and stops at anything else (a control
frame, a fragment, a frame not all here yet, a rule broken), which is then the endpoint's to judge.
A codec therefore knows the layout of a frame (RFC 6455 §5.2) and nothing else.
"""

from __future__ import annotations

from typing import TypeAlias

Payload: TypeAlias = bytes | bytearray | memoryview
"""Bytes in one of Python's own containers."""

TEXT = 0x81
BINARY = 0x82
"""First byte of a whole message in one frame: FIN, no reserved bit, opcode."""


def decode(
    buffer: Payload,
    start: int,
    end: int,
    masked: bool,  # noqa: FBT001 - a twin of C
    max_size: int,
    /,
) -> tuple[list[str | bytes], int]:
    """Take whole messages off buffer[start:end].

    `masked` says whether frames must be masked (RFC 6455 §5.1); `max_size` is the largest payload in
    bytes. Returns the messages, text as str and binary as bytes, and the position of the first byte
    that was left. Raises ValueError when start and end do not lie in the buffer.
    """
    view = memoryview(buffer).cast("B")
    if not 0 <= start <= end <= len(view):
        raise ValueError(f"start {start} and end {end} must lie in a buffer of {len(view)} bytes")
    messages: list[str | bytes] = []
    mask_bit = 0x80 if masked else 0
    while end - start >= 2:
        first, second = view[start], view[start + 1]
        if first not in (TEXT, BINARY) or second & 0x80 != mask_bit:
            break
        length, header = second & 0x7F, 2
        if length >= 126:
            header = 4 if length == 126 else 10
            if end - start < header:
                break
            least = 126 if length == 126 else 65536
            length = int.from_bytes(view[start + 2 : start + header], "big")
            if length < least:
                break
        if masked:
            header += 4
        if length > max_size or end - start < header + length:
            break
        at = start + header
        key = bytes(view[at - 4 : at]) if masked else None
        payload = mask(view, at, at + length, key, 0)
        if first == BINARY:
            messages.append(payload)
        else:
            try:
                messages.append(payload.decode())
            except UnicodeDecodeError:
                break
        start = at + length
    return messages, start


def encode_message(message: str | Payload, mask_key: bytes | None = None, /) -> bytes:
    """Frame one message: text for str, binary for bytes-like; masked when a key is given.

    Raises TypeError for anything else, and UnicodeEncodeError for text with lone surrogates.
    """
    return encode_frame(TEXT if isinstance(message, str) else BINARY, message, mask_key)


def encode_frame(first_byte: int, payload: str | Payload, mask_key: bytes | None, /) -> bytes:
    """Frame a payload behind any first byte (FIN, RSV1-3, opcode), with the shortest length."""
    if not 0 <= first_byte <= 255:
        raise ValueError(f"the first byte of a frame is 0 to 255, not {first_byte}")
    _check_key(mask_key)
    if isinstance(payload, str):
        content = payload.encode()
    else:
        try:
            content = bytes(memoryview(payload))
        except TypeError:
            raise TypeError(f"a message is str or bytes-like, not {payload!r}") from None
    if mask_key is not None:
        content = mask(content, 0, len(content), mask_key, 0)
    return header(first_byte, len(content), mask_key) + content


def header(first_byte: int, length: int, mask_key: bytes | None) -> bytes:
    """The bytes before a payload of that length (RFC 6455 §5.2)."""
    mask_bit = 0 if mask_key is None else 0x80
    if length < 126:
        head = bytes((first_byte, mask_bit | length))
    elif length < 65536:
        head = bytes((first_byte, mask_bit | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((first_byte, mask_bit | 127)) + length.to_bytes(8, "big")
    return head + (mask_key or b"")


def mask(data: Payload, start: int, end: int, key: bytes | None, phase: int, /) -> bytes:
    """Mask or unmask data[start:end], whose first byte meets key[phase % 4] (RFC 6455 §5.3).

    Without a key it is a copy. Raises ValueError for a key that is not 4 bytes.
    """
    _check_key(key)
    view = memoryview(data).cast("B")
    if not 0 <= start <= end <= len(view):
        raise ValueError(f"start {start} and end {end} must lie in a buffer of {len(view)} bytes")
    part = bytes(view[start:end])
    if key is None or not part:
        return part
    phase &= 3
    turned = key[phase:] + key[:phase]
    stream = (turned * (len(part) // 4 + 1))[: len(part)]
    return (int.from_bytes(part, "little") ^ int.from_bytes(stream, "little")).to_bytes(
        len(part), "little"
    )


def _check_key(key: bytes | None) -> None:
    if key is not None and not (type(key) is bytes and len(key) == 4):
        raise ValueError(f"a masking key is 4 bytes or None, not {key!r}")
