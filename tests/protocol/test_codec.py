"""Both twins of the codec: the same names, arguments, results and errors."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

KEY = bytes.fromhex("37fa213d")
ANY = sys.maxsize
BOUNDARIES = [0, 1, 125, 126, 127, 65535, 65536, 65537]


def header(first: int, size: int, key: bytes | None = None, *, form: int | None = None) -> bytes:
    """The bytes before a payload; `form` is 7, 16 or 64, the bits that the length is written in."""
    form = form or (7 if size < 126 else 16 if size < 65536 else 64)
    bit = 0 if key is None else 0x80
    if form == 7:
        return bytes([first, bit | size]) + (key or b"")
    length = size.to_bytes(form // 8, "big")
    return bytes([first, bit | (126 if form == 16 else 127)]) + length + (key or b"")


def xor(data: bytes, key: bytes | None, phase: int = 0) -> bytes:
    """RFC 6455 §5.3 word by word: octet i is masked by octet i modulo 4 of the key."""
    return data if key is None else bytes(b ^ key[(i + phase) % 4] for i, b in enumerate(data))


def wire(message: str | bytes, key: bytes | None = None) -> bytes:
    """A whole message in one frame."""
    first, payload = (0x81, message.encode()) if isinstance(message, str) else (0x82, message)
    return header(first, len(payload), key) + xor(payload, key)


def decode(codec: ModuleType, data: Any, *, masked: bool = False, limit: int = ANY) -> Any:
    return codec.decode(data, 0, len(data), masked, limit)


def outcome(function: Callable[..., Any], *args: Any) -> tuple[str, object]:
    """What a call returns or raises, to be compared."""
    try:
        return "returned", function(*args)
    except Exception as error:
        return type(error).__name__, str(error)


class TestExamples:
    """RFC 6455 §5.7, byte for byte."""

    def test_unmasked_text(self, codec: ModuleType) -> None:
        data = bytes.fromhex("81 05 48 65 6c 6c 6f")
        assert decode(codec, data) == (["Hello"], 7)
        assert codec.encode_message("Hello") == data

    def test_masked_text(self, codec: ModuleType) -> None:
        data = bytes.fromhex("81 85 37 fa 21 3d 7f 9f 4d 51 58")
        assert decode(codec, data, masked=True) == (["Hello"], 11)
        assert codec.encode_message("Hello", KEY) == data

    def test_fragments(self, codec: ModuleType) -> None:
        first, last = bytes.fromhex("01 03 48 65 6c"), bytes.fromhex("80 02 6c 6f")
        assert codec.encode_frame(0x01, "Hel", None) == first
        assert codec.encode_frame(0x80, "lo", None) == last
        assert decode(codec, first) == ([], 0)
        assert decode(codec, last) == ([], 0)

    def test_ping_and_masked_pong(self, codec: ModuleType) -> None:
        ping = bytes.fromhex("89 05 48 65 6c 6c 6f")
        pong = bytes.fromhex("8a 85 37 fa 21 3d 7f 9f 4d 51 58")
        assert codec.encode_frame(0x89, b"Hello", None) == ping
        assert codec.encode_frame(0x8A, b"Hello", KEY) == pong
        assert decode(codec, ping) == ([], 0)
        assert decode(codec, pong, masked=True) == ([], 0)

    @pytest.mark.parametrize(
        ("head", "size"), [("82 7e 01 00", 256), ("82 7f 00 00 00 00 00 01 00 00", 65536)]
    )
    def test_256_bytes_and_64_kibibytes(self, codec: ModuleType, head: str, size: int) -> None:
        data = bytes.fromhex(head) + bytes(size)
        assert decode(codec, data) == ([bytes(size)], len(data))
        assert codec.encode_message(bytes(size)) == data


class TestLengths:
    """RFC 6455 §5.2: 7, 7+16 or 7+64 bits, the fewest that do."""

    @pytest.mark.parametrize("key", [None, KEY], ids=["unmasked", "masked"])
    @pytest.mark.parametrize("size", BOUNDARIES)
    def test_boundaries(self, codec: ModuleType, size: int, key: bytes | None) -> None:
        content = bytes(range(256)) * (size // 256) + bytes(range(size % 256))
        messages: list[str | bytes] = ["x" * size, content]
        for message in messages:
            data = wire(message, key)
            assert codec.encode_message(message, key) == data
            assert decode(codec, data, masked=key is not None) == ([message], len(data))

    @pytest.mark.parametrize(
        ("size", "form"), [(0, 16), (125, 16), (0, 64), (125, 64), (126, 64), (65535, 64)]
    )
    def test_not_minimal(self, codec: ModuleType, size: int, form: int) -> None:
        assert decode(codec, header(0x82, size, form=form) + bytes(size)) == ([], 0)

    @pytest.mark.parametrize("size", [2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1])
    @pytest.mark.parametrize("key", [None, KEY], ids=["unmasked", "masked"])
    def test_huge(self, codec: ModuleType, size: int, key: bytes | None) -> None:
        data = header(0x82, size, key, form=64) + bytes(100)
        assert decode(codec, data, masked=key is not None) == ([], 0)

    @pytest.mark.parametrize("size", [0, 1, 125, 126, 65536])
    def test_largest_and_one_more(self, codec: ModuleType, size: int) -> None:
        data = wire(bytes(size))
        assert decode(codec, data, limit=size) == ([bytes(size)], len(data))
        assert decode(codec, data, limit=size - 1) == ([], 0)


class TestStops:
    """decode leaves what it does not know, with everything behind it."""

    def test_first_byte(self, codec: ModuleType) -> None:
        before, behind = wire("before"), wire("behind")
        for first in {*range(256)} - {0x81, 0x82}:
            data = before + bytes([first, 1, 65]) + behind
            assert decode(codec, data) == (["before"], len(before)), f"first byte {first:#x}"

    def test_wrong_masking(self, codec: ModuleType) -> None:
        plain, masked = wire("one"), wire("one", KEY)
        assert decode(codec, plain + masked) == (["one"], len(plain))
        assert decode(codec, masked + plain, masked=True) == (["one"], len(masked))

    @pytest.mark.parametrize("key", [None, KEY], ids=["unmasked", "masked"])
    @pytest.mark.parametrize("message", ["", "é", "x" * 125, b"y" * 126, "z" * 65536])
    def test_not_all_there(
        self, codec: ModuleType, message: str | bytes, key: bytes | None
    ) -> None:
        before, last = wire("before", key), wire(message, key)
        data = before + last
        ends = {*range(len(before), len(before) + min(20, len(last))), len(data) - 1}
        for end in ends:
            expected = (["before"], len(before))
            assert codec.decode(data, 0, end, key is not None, ANY) == expected
        assert decode(codec, data, masked=key is not None) == (["before", message], len(data))

    @pytest.mark.parametrize(
        "bad",
        ["ff", "80", "c0 80", "e2 82", "e0 80 80", "ed a0 80", "f4 90 80 80", "f0 9f 98", "61 ff"],
    )
    @pytest.mark.parametrize("key", [None, KEY], ids=["unmasked", "masked"])
    def test_invalid_utf8(self, codec: ModuleType, bad: str, key: bytes | None) -> None:
        payload = bytes.fromhex(bad)
        before = wire("before", key)
        data = before + header(0x81, len(payload), key) + xor(payload, key)
        assert decode(codec, data, masked=key is not None) == (["before"], len(before))

    def test_invalid_utf8_beyond_the_scratch_buffer(self, codec: ModuleType) -> None:
        payload = b"x" * 100_000 + b"\xff"
        data = header(0x81, len(payload), KEY) + xor(payload, KEY)
        assert decode(codec, data, masked=True) == ([], 0)


class TestDecode:
    def test_several_messages(self, codec: ModuleType) -> None:
        messages: list[str | bytes] = ["", b"", "one", b"two", "ünï😀", "x" * 20_000, b"y" * 70_000]
        data = b"".join(wire(m, KEY) for m in messages)
        assert decode(codec, data, masked=True) == (messages, len(data))

    def test_between_start_and_end(self, codec: ModuleType) -> None:
        one, two = wire("one"), wire("two")
        data = b"junk" + one + two
        assert codec.decode(data, 4, 4 + len(one), False, ANY) == (["one"], 4 + len(one))
        assert codec.decode(data, 4 + len(one), len(data), False, ANY) == (["two"], len(data))

    def test_nothing(self, codec: ModuleType) -> None:
        assert codec.decode(b"", 0, 0, False, ANY) == ([], 0)
        assert codec.decode(b"abc", 3, 3, True, ANY) == ([], 3)

    @pytest.mark.parametrize("container", [bytes, bytearray, memoryview])
    def test_containers(self, codec: ModuleType, container: Callable[[bytes], Any]) -> None:
        data = container(wire("text") + wire(b"\xff", None))
        messages, position = decode(codec, data)
        assert messages == ["text", b"\xff"]
        assert [type(m) for m in messages] == [str, bytes]
        assert position == 9

    def test_words_are_taken_as_bytes(self, codec: ModuleType) -> None:
        words = memoryview(array("H", wire("ab")))
        assert codec.decode(words, 0, 4, False, ANY) == (["ab"], 4)
        assert codec.mask(words, 2, 4, None, 0) == b"ab"

    @pytest.mark.parametrize(("start", "end"), [(-1, 2), (0, 5), (3, 2), (0, -1), (5, 5)])
    def test_positions_outside(self, codec: ModuleType, start: int, end: int) -> None:
        message = f"start {start} and end {end} must lie in a buffer of 4 bytes"
        with pytest.raises(ValueError, match=message):
            codec.decode(b"\x81\x02ab", start, end, False, ANY)

    def test_a_limit_below_zero_takes_nothing(self, codec: ModuleType) -> None:
        assert decode(codec, wire(""), limit=-1) == ([], 0)

    def test_the_buffer_is_free_afterwards(self, codec: ModuleType) -> None:
        buffer = bytearray(wire("one", KEY) + b"\x81\x81" + KEY + b"\xff")
        decode(codec, buffer, masked=True)
        with pytest.raises(ValueError, match="must lie"):
            codec.decode(buffer, 0, 100, True, ANY)
        buffer += b"more"  # a BufferError if a view were left


class TestEncode:
    @pytest.mark.parametrize("container", [bytes, bytearray, memoryview])
    def test_containers(self, codec: ModuleType, container: Callable[[bytes], Any]) -> None:
        assert codec.encode_message(container(b"abc")) == b"\x82\x03abc"
        assert codec.encode_frame(0x02, container(b"abc"), None) == b"\x02\x03abc"

    def test_memoryview_of_every_second_byte(self, codec: ModuleType) -> None:
        every_second = memoryview(b"a-b-c-")[::2]
        assert codec.encode_message(every_second) == b"\x82\x03abc"
        assert codec.encode_frame(0x02, every_second, KEY) == b"\x02\x83" + KEY + xor(b"abc", KEY)

    def test_memoryview_of_words(self, codec: ModuleType) -> None:
        words = array("H", [1, 2])
        assert codec.encode_message(words) == b"\x82\x04" + words.tobytes()

    @pytest.mark.parametrize("first", [0x00, 0x01, 0x7F, 0x80, 0xF3, 0xFF])
    def test_any_first_byte(self, codec: ModuleType, first: int) -> None:
        assert codec.encode_frame(first, "é", None) == bytes([first, 2]) + "é".encode()

    @pytest.mark.parametrize("first", [-1, 256])
    def test_no_first_byte(self, codec: ModuleType, first: int) -> None:
        with pytest.raises(ValueError, match=f"first byte of a frame is 0 to 255, not {first}"):
            codec.encode_frame(first, b"", None)

    @pytest.mark.parametrize("message", [None, 5, 1.5, [97], {"a": 1}, object])
    def test_neither_text_nor_bytes(self, codec: ModuleType, message: object) -> None:
        for encode in (codec.encode_message, lambda m: codec.encode_frame(0x82, m, KEY)):
            with pytest.raises(TypeError) as caught:
                encode(message)
            assert str(caught.value) == f"a message is str or bytes-like, not {message!r}"

    def test_lone_surrogate(self, codec: ModuleType) -> None:
        for key in (None, KEY):
            with pytest.raises(UnicodeEncodeError) as caught:
                codec.encode_message("ab\ud800", key)
            assert caught.value.start == 2

    @pytest.mark.parametrize("key", [b"", b"abc", b"abcde", "abcd", bytearray(4), 5])
    def test_no_masking_key(self, codec: ModuleType, key: Any) -> None:
        calls: list[tuple[Callable[..., bytes], tuple[Any, ...]]] = [
            (codec.encode_message, ("x", key)),
            (codec.encode_frame, (0x81, "x", key)),
            (codec.mask, (b"x", 0, 1, key, 0)),
        ]
        for function, args in calls:
            with pytest.raises(ValueError, match="a masking key is 4 bytes or None, not") as caught:
                function(*args)
            assert str(caught.value).endswith(repr(key))

    def test_of_bad_arguments_the_first_byte_and_the_key_come_first(
        self, codec: ModuleType
    ) -> None:
        with pytest.raises(ValueError, match="a masking key is 4 bytes or None, not b'x'"):
            codec.encode_frame(0x81, 5, b"x")
        with pytest.raises(ValueError, match="the first byte of a frame is 0 to 255, not 256"):
            codec.encode_frame(256, 5, b"x")

    def test_a_released_view(self, codec: ModuleType) -> None:
        view = memoryview(b"abc")
        view.release()
        with pytest.raises(ValueError, match="released memoryview"):
            codec.encode_message(view)


class TestMask:
    """RFC 6455 §5.3."""

    @pytest.mark.parametrize("size", [*range(20), 4095, 4096, 4097])
    def test_every_phase_and_remainder(self, codec: ModuleType, size: int) -> None:
        data = bytes(i % 251 for i in range(size))
        for phase in range(-1, 9):
            masked = codec.mask(data, 0, size, KEY, phase)
            assert masked == xor(data, KEY, phase)
            assert codec.mask(masked, 0, size, KEY, phase) == data

    @pytest.mark.parametrize("container", [bytes, bytearray, memoryview])
    def test_a_part(self, codec: ModuleType, container: Callable[[bytes], Any]) -> None:
        assert codec.mask(container(b"abcdef"), 2, 5, None, 0) == b"cde"
        assert codec.mask(container(b"abcdef"), 2, 5, KEY, 3) == xor(b"cde", KEY, 3)
        assert codec.mask(container(b"abcdef"), 6, 6, KEY, 0) == b""

    @pytest.mark.parametrize(("start", "end"), [(-1, 2), (0, 4), (3, 2), (4, 4)])
    def test_positions_outside(self, codec: ModuleType, start: int, end: int) -> None:
        message = f"start {start} and end {end} must lie in a buffer of 3 bytes"
        with pytest.raises(ValueError, match=message):
            codec.mask(b"abc", start, end, KEY, 0)


class TestHostileArguments:
    """Whatever is passed, the C functions raise; they do not crash, and they do not guess."""

    GOOD: ClassVar[list[tuple[str, tuple[Any, ...]]]] = [
        ("decode", (b"\x81\x02ab", 0, 4, False, 10)),
        ("encode_message", (b"ab", KEY)),
        ("encode_frame", (0x81, b"ab", KEY)),
        ("mask", (b"abcd", 0, 4, KEY, 0)),
    ]

    @pytest.mark.parametrize(("name", "good"), GOOD)
    def test_argument_count(self, codec: ModuleType, name: str, good: tuple[Any, ...]) -> None:
        function = getattr(codec, name)
        function(*good)
        for bad in [(), good[:-2], (*good, None), (*good, *good)]:
            with pytest.raises(TypeError):
                function(*bad)

    @pytest.mark.parametrize(("name", "good"), GOOD)
    def test_no_keywords(self, codec: ModuleType, name: str, good: tuple[Any, ...]) -> None:
        with pytest.raises(TypeError):
            getattr(codec, name)(*good[:-1], key=good[-1])

    @pytest.mark.parametrize("bad", [2**63, -(2**63) - 1, 2**200, 1.5, "1", None, b"1", object()])
    @pytest.mark.parametrize(
        ("name", "at"),
        [(name, at) for name in ("decode", "mask") for at in (1, 2, 4)] + [("encode_frame", 0)],
    )
    def test_integers(self, native_codec: ModuleType, name: str, at: int, bad: Any) -> None:
        args = list(dict(self.GOOD)[name])
        args[at] = bad
        with pytest.raises((TypeError, ValueError, OverflowError)):
            getattr(native_codec, name)(*args)

    @pytest.mark.parametrize("bad", [None, 5, "text", [1], memoryview(b"abcdefgh")[::2]])
    @pytest.mark.parametrize("name", ["decode", "mask"])
    def test_buffers(self, codec: ModuleType, name: str, bad: Any) -> None:
        good = dict(self.GOOD)[name]
        with pytest.raises((TypeError, BufferError)):
            getattr(codec, name)(bad, *good[1:])

    def test_truth_that_raises(self, codec: ModuleType) -> None:
        class Undecided:
            def __bool__(self) -> bool:
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            codec.decode(b"\x81\x02ab", 0, 4, Undecided(), 10)


messages = st.lists(st.one_of(st.text(max_size=200), st.binary(max_size=200)), max_size=6)
keys = st.binary(min_size=4, max_size=4)
payload_bytes = st.sampled_from([0x00, 0x01, 0x7E, 0x7F, 0x80, 0x81, 0x82, 0x83, 0xFE, 0xFF])
garbage = st.one_of(st.binary(max_size=40), st.lists(payload_bytes, max_size=40).map(bytes))


@st.composite
def buffers(draw: st.DrawFn) -> bytes:
    """Messages with garbage between them, as a hostile peer might send."""
    parts = []
    for message in draw(messages):
        parts.append(wire(message, draw(st.none() | keys)))
        parts.append(draw(st.just(b"") | garbage))
    return b"".join(parts)


class TestAnyInput:
    @given(data=st.data())
    def test_the_twins_agree_on_any_buffer(
        self, native_codec: ModuleType, pure_codec: ModuleType, data: st.DataObject
    ) -> None:
        buffer = data.draw(buffers())
        start = data.draw(st.just(0) | st.integers(-2, len(buffer) + 2))
        end = data.draw(st.just(len(buffer)) | st.integers(-2, len(buffer) + 2))
        masked = data.draw(st.booleans())
        limit = data.draw(st.just(ANY) | st.integers(-1, 250))
        args = (buffer, start, end, masked, limit)
        assert outcome(native_codec.decode, *args) == outcome(pure_codec.decode, *args)

    @given(buffer=garbage, start=st.integers(-1, 40), end=st.integers(-1, 40), phase=st.integers())
    def test_the_twins_agree_on_any_mask(
        self,
        native_codec: ModuleType,
        pure_codec: ModuleType,
        buffer: bytes,
        start: int,
        end: int,
        phase: int,
    ) -> None:
        args = (buffer, start, end, KEY, phase % 2**63)
        assert outcome(native_codec.mask, *args) == outcome(pure_codec.mask, *args)

    @given(messages=messages, key=st.none() | keys)
    def test_decoding_undoes_encoding(
        self, codec: ModuleType, messages: list[str | bytes], key: bytes | None
    ) -> None:
        data = b"".join(codec.encode_message(message, key) for message in messages)
        assert data == b"".join(wire(message, key) for message in messages)
        assert decode(codec, data, masked=key is not None) == (messages, len(data))

    @given(data=st.binary(max_size=100), key=keys, phase=st.integers(-(2**63), 2**63 - 1))
    def test_masking_twice(self, codec: ModuleType, data: bytes, key: bytes, phase: int) -> None:
        masked = codec.mask(data, 0, len(data), key, phase)
        assert masked == xor(data, key, phase)
        assert codec.mask(masked, 0, len(data), key, phase) == data

    @given(data=st.binary(max_size=100), cut=st.integers(0, 100), key=keys)
    def test_masking_in_two_pieces(
        self, codec: ModuleType, data: bytes, cut: int, key: bytes
    ) -> None:
        cut = min(cut, len(data))
        pieces = codec.mask(data, 0, cut, key, 0) + codec.mask(data, cut, len(data), key, cut)
        assert pieces == codec.mask(data, 0, len(data), key, 0)
