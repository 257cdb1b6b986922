"""Opcodes, close codes, the rules of frames one by one, and crafting frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubws.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from hubws.protocol.frames import (
    CloseCode,
    Frame,
    Header,
    Opcode,
    build_close,
    check_control,
    check_control_payload,
    check_length,
    check_masked,
    check_opcode,
    check_reserved_bits,
    check_sequence,
    check_size,
    encode_text,
    is_close_code,
    is_plain_ping_or_pong,
    parse_close,
    parse_header,
)

KEY = bytes.fromhex("37fa213d")

SENDABLE = [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999]
FORBIDDEN = [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535]


def make_header(first: int = 0x81, *, length: int = 0, masked: bool = False) -> Header:
    return Header(first, KEY if masked else None, length, minimal=True, size=2)


def failure(check: Callable[..., object], *args: Any, **options: Any) -> tuple[int, str]:
    """The close code and the words with which the peer's mistake is refused."""
    with pytest.raises(RemoteProtocolError) as caught:
        check(*args, **options)
    assert isinstance(caught.value, ProtocolError)
    return caught.value.code, str(caught.value)


class TestHeader:
    """RFC 6455 §5.2."""

    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            ("81 00", Header(0x81, None, 0, True, 2)),
            ("8a fd 37fa213d", Header(0x8A, KEY, 125, True, 6)),
            ("02 7e 007e", Header(0x02, None, 126, True, 4)),
            ("f3 fe ffff 37fa213d", Header(0xF3, KEY, 65535, True, 8)),
            ("82 7f 0000000000010000", Header(0x82, None, 65536, True, 10)),
            ("82 ff ffffffffffffffff 37fa213d", Header(0x82, KEY, 2**64 - 1, True, 14)),
            ("81 7e 007d", Header(0x81, None, 125, False, 4)),
            ("81 7f 000000000000ffff", Header(0x81, None, 65535, False, 10)),
            ("81 7f 0000000000000000", Header(0x81, None, 0, False, 10)),
        ],
    )
    def test_every_form_and_truncation(self, data: str, expected: Header) -> None:
        raw = b"junk" + bytes.fromhex(data) + b"payload"
        end = 4 + expected.size
        assert parse_header(raw, 4, len(raw)) == expected
        assert parse_header(bytearray(raw), 4, end) == expected
        assert parse_header(memoryview(raw), 4, end) == expected
        assert [parse_header(raw, 4, n) for n in range(4, end)] == [None] * expected.size

    def test_parts_of_the_first_byte(self) -> None:
        text, ping = make_header(0x01), make_header(0x89)
        assert (text.fin, text.opcode, text.is_control) == (False, Opcode.TEXT, False)
        assert (ping.fin, ping.opcode, ping.is_control) == (True, Opcode.PING, True)
        assert make_header(0xFF).opcode == 0xF


class TestChecks:
    """Each rule with what keeps it and what breaks it."""

    def test_reserved_bits(self) -> None:
        check_reserved_bits(make_header(0x8F))
        check_reserved_bits(make_header(0xC1), 0x40)
        for first, bits in [(0xC1, "100"), (0xA1, "010"), (0x91, "001"), (0xF1, "111")]:
            expected = (1002, f"reserved bits {bits} are set, but no extension defines them")
            assert failure(check_reserved_bits, make_header(first)) == expected
        assert failure(check_reserved_bits, make_header(0xE1), 0x40)[0] == 1002

    def test_opcode(self) -> None:
        for opcode in Opcode:
            check_opcode(make_header(0x80 | opcode))
        for reserved in [3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF]:
            expected = (1002, f"opcode {reserved:#x} is reserved")
            assert failure(check_opcode, make_header(reserved)) == expected

    def test_length(self) -> None:
        check_length(make_header(length=2**63 - 1))
        expected = (1002, "the most significant bit of the length is set")
        assert failure(check_length, make_header(length=2**63)) == expected
        header = make_header(length=125)._replace(minimal=False)
        expected = (1002, "the length 125 is not in the fewest bytes")
        assert failure(check_length, header) == expected

    def test_masked(self) -> None:
        check_masked(make_header(masked=True), expected=True)
        check_masked(make_header(masked=False), expected=False)
        expected = (1002, "a frame from a client is not masked")
        assert failure(check_masked, make_header(masked=False), expected=True) == expected
        expected = (1002, "a frame from a server is masked")
        assert failure(check_masked, make_header(masked=True), expected=False) == expected

    def test_control(self) -> None:
        check_control(make_header(0x89, length=125))
        check_control(make_header(0x01, length=126))
        expected = (1002, "a control frame has 126 bytes of payload; at most 125 are allowed")
        assert failure(check_control, make_header(0x88, length=126)) == expected
        expected = (1002, "a control frame is fragmented")
        assert failure(check_control, make_header(0x0A)) == expected

    def test_sequence(self) -> None:
        for first in (0x81, 0x02, 0x89):
            check_sequence(make_header(first), in_message=False)
        for first in (0x00, 0x80, 0x8A):
            check_sequence(make_header(first), in_message=True)
        expected = (1002, "a new message begins before the last fragment of another")
        for first in (0x81, 0x02):
            assert failure(check_sequence, make_header(first), in_message=True) == expected
        expected = (1002, "a continuation frame comes without a message to continue")
        for first in (0x80, 0x00):
            assert failure(check_sequence, make_header(first), in_message=False) == expected

    def test_size(self) -> None:
        check_size(10, 10)
        expected = (1009, "the message has at least 11 bytes; at most 10 are accepted")
        assert failure(check_size, 11, 10) == expected


class TestClosePayload:
    """RFC 6455 §5.5.1 and §7.4."""

    @pytest.mark.parametrize("code", SENDABLE)
    def test_sendable_code(self, code: int) -> None:
        payload = code.to_bytes(2, "big")
        assert is_close_code(code)
        assert build_close(code) == payload
        assert build_close(code, "hé") == payload + b"h\xc3\xa9"
        assert parse_close(payload) == (code, "")
        assert parse_close(memoryview(payload + b"h\xc3\xa9")) == (code, "hé")

    @pytest.mark.parametrize("code", FORBIDDEN)
    def test_forbidden_code(self, code: int) -> None:
        assert not is_close_code(code)
        with pytest.raises(LocalProtocolError, match=f"close code {code} may not be sent; use"):
            build_close(code)
        expected = (1002, f"close code {code} may not be sent")
        assert failure(parse_close, code.to_bytes(2, "big")) == expected

    @pytest.mark.parametrize("code", [-1, 65536, 2**70])
    def test_code_that_does_not_fit(self, code: int) -> None:
        with pytest.raises(LocalProtocolError, match=f"close code {code} may not be sent"):
            build_close(code)

    def test_every_code_has_a_verdict(self) -> None:
        allowed = {code for code in range(65536) if is_close_code(code)}
        ranges = [range(1000, 1004), range(1007, 1015), range(3000, 5000)]
        assert allowed == {code for some in ranges for code in some}
        reserved = {CloseCode.NO_STATUS, CloseCode.ABNORMAL, CloseCode.TLS_HANDSHAKE}
        assert set(CloseCode) - allowed == reserved

    def test_names(self) -> None:
        names = {code.value: code.name for code in CloseCode}
        assert list(names) == [*range(1000, 1004), *range(1005, 1016)]
        assert (names[1000], names[1009], names[1013]) == (
            "NORMAL",
            "MESSAGE_TOO_BIG",
            "TRY_AGAIN_LATER",
        )

    def test_no_code(self) -> None:
        assert build_close(None) == b""
        assert parse_close(b"") == (CloseCode.NO_STATUS, "")
        with pytest.raises(LocalProtocolError, match="reason 'why' needs a close code"):
            build_close(None, "why")

    def test_one_byte(self) -> None:
        expected = (1002, "a close frame has one byte of payload; a code takes two")
        assert failure(parse_close, b"\x03") == expected

    def test_length_of_the_reason(self) -> None:
        assert len(build_close(1000, "x" * 123)) == 125
        assert len(build_close(1000, "é" * 61 + "x")) == 125
        for reason in ("x" * 124, "é" * 62):
            with pytest.raises(LocalProtocolError, match="at most 123 bytes of UTF-8, not 124"):
                build_close(1000, reason)

    @pytest.mark.parametrize("reason", [b"\xff", b"\xc3", b"ok\xed\xa0\x80", b"\xf4\x90\x80\x80"])
    def test_reason_is_not_utf8(self, reason: bytes) -> None:
        assert failure(parse_close, b"\x03\xe8" + reason) == (1007, "a close reason is not UTF-8")

    def test_lone_surrogate(self) -> None:
        with pytest.raises(
            LocalProtocolError, match=r"lone surrogate U\+DC00 at index 1"
        ) as caught:
            build_close(1000, "x\udc00")
        assert caught.value.code == CloseCode.INVALID_DATA
        with pytest.raises(ValueError, match=r"a close reason must be text .* U\+D800 at index 0"):
            encode_text("\ud800", "a close reason")


class TestControlPayload:
    """RFC 6455 §5.5."""

    @pytest.mark.parametrize("container", [bytes, bytearray, memoryview])
    def test_125_bytes(self, container: Callable[[bytes], Any]) -> None:
        assert check_control_payload(container(bytes(125)), "ping") == bytes(125)

    def test_126_bytes(self) -> None:
        with pytest.raises(LocalProtocolError, match="a pong has at most 125 bytes, not 126"):
            check_control_payload(bytes(126), "pong")

    @pytest.mark.parametrize("payload", ["text", 5, None])
    def test_not_bytes(self, payload: Any) -> None:
        message = f"the payload of a ping is bytes-like, not {payload!r}"
        with pytest.raises(TypeError, match=message):
            check_control_payload(payload, "ping")


def frames() -> st.SearchStrategy[Frame]:
    """Every frame that the wire can carry, reserved opcodes and bits too."""
    return st.builds(
        Frame,
        opcode=st.integers(0, 15),
        payload=st.binary(max_size=300),
        fin=st.booleans(),
        rsv1=st.booleans(),
        rsv2=st.booleans(),
        rsv3=st.booleans(),
        mask_key=st.none() | st.binary(min_size=4, max_size=4),
    )


@pytest.mark.usefixtures("both_codecs")
class TestFrame:
    def test_to_bytes(self) -> None:
        assert Frame.text("Hello").to_bytes() == b"\x81\x05Hello"
        assert Frame(opcode=Opcode.PING).to_bytes() == b"\x89\x00"
        masked = Frame(opcode=1, payload=b"Hello", mask_key=KEY)
        assert masked.to_bytes() == bytes.fromhex("81 85 37fa213d 7f9f4d5158")
        odd = Frame(opcode=0xB, fin=False, rsv1=True, rsv2=True, rsv3=True)
        assert odd.to_bytes() == b"\x7b\x00"

    @pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
    def test_lengths(self, size: int) -> None:
        frame = Frame(opcode=Opcode.BINARY, payload=bytes(size), mask_key=KEY)
        data = frame.to_bytes()
        assert Frame.from_bytes(data + b"more") == (frame, len(data))

    @given(frame=frames())
    def test_round_trip(self, frame: Frame) -> None:
        data = frame.to_bytes()
        for container in (bytes, bytearray, memoryview):
            assert Frame.from_bytes(container(data + b"next")) == (frame, len(data))
        assert [Frame.from_bytes(data[:n]) for n in range(len(data))] == [None] * len(data)

    def test_from_bytes_reads_what_the_protocol_forbids(self) -> None:
        parsed = Frame.from_bytes(b"\x79\x7e\x00\x02\x03\xe7")
        assert parsed is not None
        frame, size = parsed
        assert frame == Frame(
            opcode=9, payload=b"\x03\xe7", fin=False, rsv1=True, rsv2=True, rsv3=True
        )
        assert size == 6
        assert Frame.from_bytes(b"\x82\x7f" + b"\xff" * 8 + bytes(100)) is None

    def test_every_field_can_be_set(self) -> None:
        frame = Frame(opcode=1)
        frame.opcode = 9
        frame.payload = bytearray(b"abc")  # type: ignore[assignment]  # it becomes bytes
        frame.fin = False
        frame.rsv1 = frame.rsv3 = True
        frame.rsv2 = False
        frame.mask_key = KEY
        assert frame.opcode is Opcode.PING
        assert type(frame.payload) is bytes
        assert frame.to_bytes() == b"\x59\x83" + KEY + b"\x56\x98\x42"
        frame.mask_key = None
        assert frame.to_bytes() == b"\x59\x03abc"

    @pytest.mark.parametrize(
        ("field", "value", "error", "message"),
        [
            ("opcode", 16, LocalProtocolError, "an opcode is 0 to 15, not 16"),
            ("opcode", -1, LocalProtocolError, "an opcode is 0 to 15, not -1"),
            ("payload", "text", TypeError, "bytes-like, not 'text'"),
            ("payload", 5, TypeError, "bytes-like, not 5"),
            ("payload", None, TypeError, "bytes-like, not None"),
            ("mask_key", b"abc", LocalProtocolError, "4 bytes or None, not b'abc'"),
            ("mask_key", "abcd", LocalProtocolError, "4 bytes or None, not 'abcd'"),
        ],
    )
    def test_wrong_values(
        self, field: str, value: object, error: type[Exception], message: str
    ) -> None:
        with pytest.raises(error, match=message):
            Frame(**{"opcode": 1, field: value})  # type: ignore[arg-type]
        frame = Frame(opcode=1)
        with pytest.raises(error, match=message):
            setattr(frame, field, value)
        assert frame == Frame(opcode=1)

    def test_text(self) -> None:
        assert Frame.text("é", fin=False) == Frame(opcode=1, payload=b"\xc3\xa9", fin=False)
        with pytest.raises(LocalProtocolError, match=r"a text frame .* U\+D800 at index 0"):
            Frame.text("\ud800")

    def test_fields_are_named(self) -> None:
        with pytest.raises(TypeError, match="positional"):
            Frame(1)  # type: ignore[call-arg]

    def test_is_control(self) -> None:
        assert [Frame(opcode=n).is_control for n in range(16)] == [False] * 8 + [True] * 8


class TestCloseFrame:
    def test_default(self) -> None:
        assert Frame.close() == Frame(opcode=8, payload=b"\x03\xe8")

    def test_code_and_reason(self) -> None:
        frame = Frame.close(4000, "why")
        assert (frame.close_code, frame.close_reason) == (4000, "why")
        assert frame.to_bytes() == b"\x88\x05\x0f\xa0why"

    def test_without_a_code(self) -> None:
        assert (Frame.close(None).close_code, Frame.close(None).close_reason) == (None, "")
        one_byte = Frame(opcode=8, payload=b"\x03")
        assert (one_byte.close_code, one_byte.close_reason) == (None, "")

    def test_of_another_frame(self) -> None:
        assert (Frame.text("abcd").close_code, Frame.text("abcd").close_reason) == (None, "")

    def test_forbidden(self) -> None:
        with pytest.raises(LocalProtocolError, match="close code 1005 may not be sent"):
            Frame.close(1005)

    def test_setting_the_code(self) -> None:
        frame = Frame.close(1000, "why")
        frame.close_code = 999  # crafting may send what the protocol forbids
        assert frame.payload == b"\x03\xe7why"
        bare = Frame(opcode=8, payload=b"\x03")
        bare.close_code = 1001
        assert bare.payload == b"\x03\xe9"

    @pytest.mark.parametrize("code", [-1, 65536])
    def test_setting_a_code_that_does_not_fit(self, code: int) -> None:
        frame = Frame.close()
        with pytest.raises(LocalProtocolError, match=f"two bytes; {code} does not fit"):
            frame.close_code = code
        assert frame == Frame.close()

    def test_setting_the_reason(self) -> None:
        frame = Frame(opcode=8, payload=b"\x03\xe7why")
        frame.close_reason = "x" * 200
        assert frame.payload == b"\x03\xe7" + b"x" * 200
        for payload in (b"", b"\x03"):
            bare = Frame(opcode=8, payload=payload)
            bare.close_reason = "why"
            assert bare == Frame.close(1000, "why")

    def test_a_code_alone(self) -> None:
        frame = Frame(opcode=8, payload=b"\x0f\xa0")
        assert frame.close_code == 4000
        frame.close_reason = "why"
        assert frame.payload == b"\x0f\xa0why"

    @pytest.mark.parametrize("code", [0, 0xFFFF])
    def test_setting_the_least_and_the_greatest_code(self, code: int) -> None:
        frame = Frame.close()
        frame.close_code = code
        assert frame.close_code == code

    def test_setting_a_reason_with_a_surrogate(self) -> None:
        frame = Frame.close()
        with pytest.raises(LocalProtocolError, match="lone surrogate"):
            frame.close_reason = "\ud800"
        assert frame == Frame.close()

    def test_reason_that_is_not_utf8(self) -> None:
        assert Frame(opcode=8, payload=b"\x03\xe8a\xff").close_reason == "a�"


class TestPrinting:
    @pytest.mark.parametrize(
        ("frame", "expected"),
        [
            (Frame.text("Hello  world"), "<TEXT FIN 12 bytes 'Hello  world'>"),
            (Frame.text("", fin=False), "<TEXT 0 bytes ''>"),
            (Frame.text("x" * 99), f"<TEXT FIN 99 bytes '{'x' * 64}'>"),
            (Frame(opcode=10, payload=b"x" * 99), f"<PONG FIN 99 bytes {'78 ' * 31}78>"),
            (Frame(opcode=9), "<PING FIN 0 bytes>"),
            (Frame(opcode=2, payload=b"\x00\xff"), "<BINARY FIN 2 bytes 00 ff>"),
            (Frame.close(1001, "bye"), "<CLOSE FIN 5 bytes 1001 'bye'>"),
            (Frame.close(None), "<CLOSE FIN 0 bytes>"),
            (Frame(opcode=8, payload=b"\x03"), "<CLOSE FIN 1 bytes 03>"),
            (
                Frame(opcode=0xB, fin=False, rsv1=True, rsv2=True, rsv3=True, mask_key=KEY),
                "<opcode 0xb RSV1 RSV2 RSV3 mask 37fa213d 0 bytes>",
            ),
        ],
    )
    def test_str(self, frame: Frame, expected: str) -> None:
        assert str(frame) == expected

    @given(frame=frames())
    def test_any_frame_prints_in_one_line(self, frame: Frame) -> None:
        large = attrs.evolve(frame, payload=frame.payload * 1000)
        assert len(str(large).splitlines()) == 1
        assert f" {len(large.payload)} bytes" in str(large)
        assert f"opcode={large.opcode!r}" in repr(large)


class TestPlainPingOrPong:
    """The short cut says no more than the rules do."""

    @pytest.mark.parametrize("masked", [True, False])
    def test_says_what_the_rules_say(self, masked: bool) -> None:
        found = 0
        for first in range(256):
            for length in (0, 1, 125, 126, 65536, 1 << 63):
                for minimal in (True, False):
                    for key in (KEY, None):
                        header = Header(first, key, length, minimal, 2)
                        if not is_plain_ping_or_pong(header, masked=masked):
                            continue
                        found += 1
                        assert header.opcode in (Opcode.PING, Opcode.PONG)
                        check_reserved_bits(header, 0)
                        check_opcode(header)
                        check_masked(header, expected=masked)
                        check_control(header)
                        check_length(header)
                        check_sequence(header, in_message=False)
                        check_sequence(header, in_message=True)
        assert found == 2 * 3
