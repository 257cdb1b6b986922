"""permessage-deflate, section by section of RFC 7692, on zlib and on zlib-ng."""

from __future__ import annotations

import importlib
import importlib.util
import random
import sys
import zlib
from types import ModuleType
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubws import Deflate, DeflateParameters
from hubws.errors import LocalProtocolError, RemoteProtocolError
from hubws.protocol import deflate
from hubws.protocol.deflate import TAIL, Deflater, Inflater
from hubws.protocol.endpoint import Endpoint, Ping, Violation
from hubws.protocol.extensions import Extension, parse_extensions
from hubws.protocol.frames import Frame, Opcode, Payload
from hubws.protocol.messages import SLICE, CompressedMessage

from .inflate import farthest_distance

HELLO = bytes.fromhex("f2 48 cd c9 c9 07 00")
LIMIT = 1024 * 1024

SERVER, CLIENT = "; server_max_window_bits", "; client_max_window_bits"
ALL_FOUR = """permessage-deflate; client_max_window_bits; server_no_context_takeover;
    client_no_context_takeover; server_max_window_bits=11""".replace("\n   ", "")
ANSWER_TO_ALL_FOUR = """server_no_context_takeover; client_no_context_takeover;
    server_max_window_bits=11; client_max_window_bits=12""".replace("\n   ", "")


@pytest.fixture(params=["zlib", "zlib_ng.zlib_ng"], autouse=True)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Each library that does the work."""
    module = importlib.import_module(request.param)
    monkeypatch.setattr(deflate, "zlib", module)
    return module


def test_without_zlib_ng(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zlib_ng", None)
    assert deflate.__file__ is not None
    spec = importlib.util.spec_from_file_location("hubws.protocol.another", deflate.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.zlib is zlib


def one(text: str) -> Extension:
    [extension] = parse_extensions([text])
    return extension


def answer(offer: str, **settings: Any) -> str | None:
    agreed = Deflate(**settings).accept(parse_extensions([offer]))
    return None if agreed is None else str(agreed.to_extension(is_offer=False))


class TestServer:
    """§7.1, and §5.1: what a server answers to an offer."""

    @pytest.mark.parametrize(
        ("offer", "expected"),
        [
            ("permessage-deflate", ""),
            ("permessage-deflate; client_max_window_bits", CLIENT + "=12"),
            ("permessage-deflate; client_max_window_bits=15", CLIENT + "=12"),
            ("permessage-deflate; client_max_window_bits=9", CLIENT + "=9"),
            ("permessage-deflate; server_max_window_bits=15", SERVER + "=12"),
            ("permessage-deflate; server_max_window_bits=8", SERVER + "=8"),
            ('permessage-deflate; server_max_window_bits="10"', SERVER + "=10"),
            ("permessage-deflate; server_no_context_takeover", "; server_no_context_takeover"),
            ("permessage-deflate; client_no_context_takeover", "; client_no_context_takeover"),
            (ALL_FOUR, "; " + ANSWER_TO_ALL_FOUR),
            ("x-unknown; a=b, permessage-deflate", ""),
            ("permessage-deflate; x, permessage-deflate", ""),
            ("permessage-deflate; server_max_window_bits, permessage-deflate", ""),
        ],
    )  # fmt: skip
    def test_accepts(self, offer: str, expected: str) -> None:
        assert answer(offer) == "permessage-deflate" + expected

    @pytest.mark.parametrize(
        "offer",
        [
            "",
            "x-webkit-deflate-frame",
            "Permessage-Deflate",
            "permessage-deflate; x",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=08",
            "permessage-deflate; server_max_window_bits=+9",
            "permessage-deflate; client_max_window_bits=0",
            "permessage-deflate; client_max_window_bits=x",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover=true",
            "permessage-deflate; client_max_window_bits; client_max_window_bits",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        ],
    )
    def test_declines(self, offer: str) -> None:
        assert answer(offer) is None

    @pytest.mark.parametrize(
        ("settings", "offer", "expected"),
        [
            ({"server_no_context_takeover": True}, "", "; server_no_context_takeover"),
            ({"client_no_context_takeover": True}, "", "; client_no_context_takeover"),
            ({"server_max_window_bits": 9}, "", ""),
            ({"server_max_window_bits": 9}, SERVER + "=10", SERVER + "=9"),
            ({"server_max_window_bits": 15}, SERVER + "=9", SERVER + "=9"),
            ({"client_max_window_bits": 15}, CLIENT + "=9", CLIENT + "=9"),
            ({"client_max_window_bits": 15}, CLIENT, CLIENT + "=15"),
            ({"client_max_window_bits": 9}, CLIENT + "=8", CLIENT + "=8"),
            ({"client_max_window_bits": 9}, "", ""),
        ],
    )  # fmt: skip
    def test_asks_for_what_it_was_set_to(
        self, settings: dict[str, Any], offer: str, expected: str
    ) -> None:
        name = "permessage-deflate"
        assert answer(name + offer, **settings) == name + expected


class TestClient:
    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            ({}, CLIENT),
            ({"client_max_window_bits": 9}, CLIENT + "=9"),
            ({"server_max_window_bits": 15}, SERVER + "=15; client_max_window_bits"),
            (
                {"server_no_context_takeover": True, "client_no_context_takeover": True},
                "; server_no_context_takeover; client_no_context_takeover; client_max_window_bits",
            ),
        ],
    )
    def test_offers(self, settings: dict[str, Any], expected: str) -> None:
        offer = Deflate(**settings).offer().to_extension(is_offer=True)
        assert str(offer) == "permessage-deflate" + expected

    @pytest.mark.parametrize(
        ("settings", "text", "expected"),
        [
            ({}, "", {}),
            ({}, SERVER + "=9", {"server_max_window_bits": 9}),
            ({}, CLIENT + "=15", {"client_max_window_bits": 15}),
            ({}, "; server_no_context_takeover", {"server_no_context_takeover": True}),
            ({}, "; client_no_context_takeover", {"client_no_context_takeover": True}),
            ({"client_max_window_bits": 9}, CLIENT + "=8", {"client_max_window_bits": 8}),
            ({"client_max_window_bits": 9}, "", {}),
            ({"server_max_window_bits": 9}, SERVER + "=9", {"server_max_window_bits": 9}),
        ],
    )  # fmt: skip
    def test_agrees(self, settings: dict[str, Any], text: str, expected: dict[str, Any]) -> None:
        agreed = Deflate(**settings).check_answer(one("permessage-deflate" + text))
        assert agreed == DeflateParameters(**expected)

    @pytest.mark.parametrize(
        ("settings", "text", "words"),
        [
            ({}, "; x", "x is not a parameter of permessage-deflate"),
            ({}, CLIENT, "must be 8 to 15, not None"),
            ({}, SERVER, "must be 8 to 15, not None"),
            ({}, SERVER + "=7", "server_max_window_bits must be 8 to 15, not '7'"),
            ({}, SERVER + "=16", "must be 8 to 15, not '16'"),
            ({}, SERVER + "=1000", "must be 8 to 15, not '1000'"),
            ({}, "; server_no_context_takeover=1", "has no value, not '1'"),
            ({}, "; server_no_context_takeover; server_no_context_takeover", "comes twice"),
            ({"client_max_window_bits": 9}, CLIENT + "=10", "is 10, but 9 was offered"),
            ({"server_max_window_bits": 9}, SERVER + "=10", "is 10, but 9 was offered"),
            ({"server_max_window_bits": 9}, "", "server_max_window_bits=9 was asked for and is not"),
            ({"server_no_context_takeover": True}, "", "takeover was asked for and is"),
        ],
    )  # fmt: skip
    def test_refuses(self, settings: dict[str, Any], text: str, words: str) -> None:
        """CVE-2026-2229 among them."""
        with pytest.raises(ValueError, match=words):
            Deflate(**settings).check_answer(one("permessage-deflate" + text))


class TestSettings:
    @pytest.mark.parametrize(
        ("setting", "value"),
        [
            ("server_max_window_bits", 7),
            ("server_max_window_bits", 16),
            ("client_max_window_bits", 7),
            ("client_max_window_bits", 16),
            ("server_max_window_bits", 9.0),
            ("level", 10),
            ("level", -1),
            ("level", True),
            ("memory_level", 0),
            ("memory_level", 10),
            ("min_size", -1),
            ("min_size", 2**31 + 1),
            ("level", "1"),
        ],
    )
    def test_out_of_range(self, setting: str, value: object) -> None:
        with pytest.raises(ValueError, match=f"{setting} must be .* to .*, not {value!r}"):
            Deflate(**{setting: value})  # type: ignore[arg-type]

    def test_ends_of_the_ranges(self) -> None:
        for settings in (
            {"server_max_window_bits": 8, "client_max_window_bits": 15, "min_size": 2**31},
            {"server_max_window_bits": 15, "client_max_window_bits": 8, "min_size": 0},
            {"level": 0, "memory_level": 1},
            {"level": 9, "memory_level": 9},
        ):
            made = attrs.asdict(Deflate(**settings))  # type: ignore[arg-type]
            assert settings.items() <= made.items()

    def test_all_by_name(self) -> None:
        for kind in (Deflate, DeflateParameters):
            with pytest.raises(TypeError, match="positional argument"):
                kind(True)  # type: ignore[call-arg]

    def test_defaults(self) -> None:
        assert attrs.asdict(Deflate()) == {
            "server_no_context_takeover": False,
            "client_no_context_takeover": False,
            "server_max_window_bits": None,
            "client_max_window_bits": None,
            "compress": True,
            "level": 1,
            "memory_level": 5,
            "min_size": 64,
        }

    @pytest.mark.parametrize(
        ("agreed", "settings", "is_client", "bits", "takeover", "peers_bits", "peers_takeover"),
        [
            ({}, {}, False, 12, True, 15, True),
            ({}, {}, True, 12, True, 15, True),
            ({"server_max_window_bits": 10}, {}, False, 10, True, 15, True),
            ({"server_max_window_bits": 10}, {}, True, 12, True, 10, True),
            ({"client_max_window_bits": 10}, {}, False, 12, True, 10, True),
            ({"client_max_window_bits": 8}, {}, True, 9, True, 15, True),
            ({}, {"server_max_window_bits": 15}, False, 15, True, 15, True),
            ({}, {"client_max_window_bits": 9}, True, 9, True, 15, True),
            ({"server_no_context_takeover": True}, {}, False, 12, False, 15, True),
            ({"server_no_context_takeover": True}, {}, True, 12, True, 15, False),
            ({"client_no_context_takeover": True}, {}, True, 12, False, 15, True),
            ({"client_no_context_takeover": True}, {}, False, 12, True, 15, False),
            ({}, {"client_no_context_takeover": True}, True, 12, False, 15, True),
            ({}, {"client_no_context_takeover": True}, False, 12, True, 15, True),
        ],
    )
    def test_what_each_side_makes_of_it(
        self,
        agreed: dict[str, Any],
        settings: dict[str, Any],
        is_client: bool,
        bits: int,
        takeover: bool,
        peers_bits: int,
        peers_takeover: bool,
    ) -> None:
        made = Deflate(**settings).build(DeflateParameters(**agreed), is_client=is_client)
        deflater, inflater = made
        assert deflater is not None
        assert (deflater._bits, deflater.takeover) == (bits, takeover)
        assert (inflater._bits, inflater._takeover) == (peers_bits, peers_takeover)

    def test_only_decompressing(self) -> None:
        deflater, inflater = Deflate(compress=False).build(DeflateParameters(), is_client=True)
        assert deflater is None
        assert isinstance(inflater, Inflater)


def make_deflater(*, bits: int = 12, takeover: bool = True, **settings: Any) -> Deflater:
    settings.setdefault("min_size", 0)
    return Deflater(bits=bits, takeover=takeover, settings=Deflate(**settings))


def make_inflater(*, bits: int = 15, takeover: bool = True) -> Inflater:
    return Inflater(bits=bits, takeover=takeover)


def inflate(inflater: Inflater, *pieces: bytes, limit: int = LIMIT) -> bytes:
    """The message that some pieces make."""
    message = CompressedMessage(Opcode.BINARY, limit, inflater)
    for piece in pieces:
        message.feed(piece)
    content = message.finish()
    assert isinstance(content, bytes)
    return content


def invalid(inflater: Inflater, *pieces: bytes) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        inflate(inflater, *pieces)
    assert caught.value.code == 1007
    return str(caught.value)


class TestInflating:
    """The examples of §7.2.3, and what is not deflate."""

    @pytest.mark.parametrize(
        ("payload", "expected"),
        [
            ("f2 48 cd c9 c9 07 00", b"Hello"),
            ("00 05 00 fa ff 48 65 6c 6c 6f 00", b"Hello"),
            ("f3 48 cd c9 c9 07 00 00", b"Hello"),
            ("f3 48 cd c9 c9 07 00", b"Hello"),
            ("f2 48 05 00 00 00 ff ff ca c9 c9 07 00", b"Hello"),
            ("00", b""),
        ],
    )
    def test_examples(self, payload: str, expected: bytes) -> None:
        data = bytes.fromhex(payload)
        inflater = make_inflater()
        for _ in range(3):
            assert inflate(inflater, data) == expected
            assert inflate(inflater, *[data[at : at + 1] for at in range(len(data))]) == expected

    def test_a_message_that_refers_to_the_one_before(self) -> None:
        again = bytes.fromhex("f2 00 11 00 00")
        inflater = make_inflater()
        assert [inflate(inflater, HELLO), inflate(inflater, again)] == [b"Hello", b"Hello"]
        alone = make_inflater(takeover=False)
        assert inflate(alone, HELLO) == b"Hello"
        assert "invalid distance" in invalid(alone, again)

    def test_memory_is_kept_only_for_what_comes_after(self) -> None:
        inflater = make_inflater(takeover=False)
        message = CompressedMessage(Opcode.BINARY, LIMIT, inflater)
        assert inflater._state is None
        message.feed(HELLO)
        assert inflater._state is not None
        message.finish()
        assert inflater._state is None

    @pytest.mark.parametrize("data", ["ff", "06 00", "00 05 00 00 00", "f2 48 cd c9 c9 07 00 07"])
    def test_not_deflate(self, data: str) -> None:
        message = invalid(make_inflater(), bytes.fromhex(data) + b"\xff" * 40)
        assert message.startswith("a compressed message is not valid: Error -3 while decompressing")

    def test_nothing_at_all(self) -> None:
        assert invalid(make_inflater()) == "a compressed message is not valid: it has no bytes"
        inflater = make_inflater()
        assert inflate(inflater, HELLO) == b"Hello"
        assert invalid(inflater, b"") == "a compressed message is not valid: it has no bytes"

    def test_final_blocks(self) -> None:
        inflater = make_inflater()
        for _ in range(3):
            assert inflate(inflater, bytes.fromhex("03 00") * 16 + HELLO) == b"Hello"
        for each in (inflater, make_inflater()):
            message = invalid(each, bytes.fromhex("03 00") * 17)
            assert message == "a compressed message is not valid: it has over 16 final blocks"

    @pytest.mark.parametrize("size", [LIMIT, SLICE, SLICE - 1, SLICE + 1, 2 * SLICE, 1, 0])
    def test_limit(self, size: int) -> None:
        compressor = zlib.compressobj(wbits=-15)
        data = compressor.compress(bytes(size + 1)) + compressor.flush(zlib.Z_SYNC_FLUSH)
        payload = data.removesuffix(TAIL)
        assert inflate(make_inflater(), payload, limit=size + 1) == bytes(size + 1)
        if size:
            with pytest.raises(RemoteProtocolError, match=f"at most {size} are accepted") as caught:
                inflate(make_inflater(), payload, limit=size)
            assert caught.value.code == 1009

    def test_no_more_is_asked_for_than_may_come(self) -> None:
        """A message is held once, and a slice of it twice; one byte more than its limit will do."""
        asked = []

        class Asked(Inflater):
            def inflate(self, data: Payload, most: int) -> tuple[bytes, Payload]:
                asked.append(most)
                return super().inflate(data, most)

        compressor = zlib.compressobj(wbits=-15)
        payload = compressor.compress(bytes(600_000)) + compressor.flush(zlib.Z_SYNC_FLUSH)
        inflater = Asked(bits=15, takeover=True)
        assert inflate(inflater, payload.removesuffix(TAIL), limit=600_000) == bytes(600_000)
        assert asked == [256 * 1024, 256 * 1024, 600_001 - 2 * 256 * 1024, 1]

    def test_compressed_size_is_bounded_too(self) -> None:
        message = CompressedMessage(Opcode.BINARY, 1000, make_inflater())
        message.begin_frame(1000)
        message.begin_frame(1274)
        with pytest.raises(RemoteProtocolError, match="at least 1 bytes; at most 0") as caught:
            message.begin_frame(1)
        assert caught.value.code == 1009


class TestDeflating:
    @pytest.mark.parametrize("takeover", [True, False])
    def test_round_trips(self, takeover: bool) -> None:
        deflater, inflater = make_deflater(takeover=takeover), make_inflater(takeover=takeover)
        sizes = []
        for _ in range(3):
            payload = deflater.compress(b"some words, some words" * 3)
            assert payload is not None
            assert inflate(inflater, payload) == b"some words, some words" * 3
            sizes.append(len(payload))
        assert (sizes[0] > sizes[1]) is takeover
        assert (sizes[0] == sizes[2]) is not takeover

    def test_what_would_grow_is_left_as_it_is(self) -> None:
        deflater, noise = make_deflater(takeover=False), random.Random(1).randbytes(5000)
        assert deflater.compress(noise) is None
        assert deflater.compress(noise[:10]) is None
        assert deflater.compress(b"") is None

    def test_what_would_be_as_long_is_left_as_it_is(self) -> None:
        deflater, noise = make_deflater(takeover=False), random.Random(1).randbytes(20)
        for compress in (deflater.compress, deflater.compress_alone):
            payloads = {size: compress(noise + b"a" * size) for size in range(60)}
            sizes = {
                size: len(payload) for size, payload in payloads.items() if payload is not None
            }
            assert 0 < len(sizes) < 60
            assert all(length < 20 + size for size, length in sizes.items())
            assert any(length == 20 + size - 1 for size, length in sizes.items())

    def test_what_would_grow_may_keep_the_context(self) -> None:
        """Rather than the window be forgotten, unless nothing else would be left in it."""
        noise, other = random.Random(1).randbytes(4097), random.Random(2).randbytes(100)
        deflater, inflater = make_deflater(), make_inflater()
        messages = [b"word " * 20, other, noise[:4096], b"word " * 20, other + b"word"]
        sizes = []
        for message in messages:
            payload = deflater.compress(message)
            assert payload is not None
            assert inflate(inflater, payload) == message
            sizes.append(len(payload))
        assert sizes[1] > 100
        assert 4096 < sizes[2] < 4096 * 9 / 8
        assert deflater.compress(noise) is None
        assert deflater.compress(b"") is None
        payload = deflater.compress(b"word " * 20)
        assert payload is not None
        assert len(payload) == sizes[0]
        assert inflate(inflater, payload) == b"word " * 20

    @pytest.mark.parametrize("memory_level", range(1, 10))
    @pytest.mark.parametrize("bits", [9, 15])
    @pytest.mark.parametrize("byte", [b"\xff", b""])
    def test_growth_is_bounded(self, memory_level: int, bits: int, byte: bytes) -> None:
        """What `CompressingOutbox` relies on; bytes over 143 take 9 bits in a fixed code."""
        source = random.Random(1)
        for level in range(10):
            deflater = make_deflater(bits=bits, memory_level=memory_level, level=level)
            for size in (1, 10, 100, 500, 1 << bits):
                noise = bytes(source.randrange(144 if byte else 0, 256) for _ in range(size))
                payload = deflater.compress(noise)
                assert payload is not None
                assert len(payload) + 14 <= size + size // 8 + 64

    def test_short_messages_are_left_as_they_are(self) -> None:
        deflater = make_deflater(min_size=64)
        assert deflater.compress(b"a" * 63) is None
        assert deflater.compress(b"a" * 64) is not None

    def test_alone(self) -> None:
        """For many receivers: no regard to the messages before, and none to this in those behind."""
        words = b"some words, some words" * 3
        deflater, inflater = make_deflater(min_size=10), make_inflater()
        first = deflater.compress(words)
        assert first is not None
        assert inflate(inflater, first) == words
        assert deflater.compress_alone(words) == first
        again = deflater.compress(words)
        assert again is not None
        assert len(again) < len(first)
        assert inflate(inflater, again) == words
        deflater.forget()
        assert deflater.compress(words) == first
        assert deflater.compress_alone(b"a" * 9) is None
        assert deflater.compress_alone(b"a" * 10) is not None
        assert deflater.compress_alone(random.Random(1).randbytes(100)) is None

    def test_alone_it_is_the_same_for_the_same_form(self) -> None:
        assert (
            make_deflater(bits=8, takeover=True).form == make_deflater(bits=9, takeover=False).form
        )
        others: list[dict[str, Any]] = [
            {"bits": 10},
            {"level": 2},
            {"memory_level": 6},
            {"min_size": 1},
        ]
        assert len({make_deflater(**{"bits": 9, **other}).form for other in [{}, *others]}) == 5

    @pytest.mark.parametrize("takeover", [True, False])
    def test_memory_is_taken_when_it_is_needed(self, takeover: bool) -> None:
        deflater = make_deflater(takeover=takeover)
        assert deflater._state is None
        deflater.compress(b"a" * 100)
        assert (deflater._state is not None) is takeover

    @pytest.mark.parametrize("takeover", [True, False])
    def test_pieces(self, takeover: bool) -> None:
        deflater, inflater = make_deflater(takeover=takeover), make_inflater(takeover=takeover)
        for pieces in ([b"a" * 100, b"b" * 100, b""], [b""], [b"", b""], [b"c" * 100, b"", b"d"]):
            last = len(pieces) - 1
            compressed = [
                deflater.compress_piece(piece, first=not index, last=index == last)
                for index, piece in enumerate(pieces)
            ]
            assert inflate(inflater, *compressed) == b"".join(pieces)
        assert (deflater._state is not None) is takeover

    @pytest.mark.parametrize("level", range(10))
    @pytest.mark.parametrize("bits", [8, 9, 10, 15])
    def test_never_looks_back_further_than_agreed(self, bits: int, level: int) -> None:
        """§7.1.2: also for 8 bits, which the libraries can't be asked for."""
        deflater = make_deflater(bits=bits, level=level)
        source = random.Random(level)
        phrases = [source.randbytes(source.randrange(3, 40)) for _ in range(30)]
        farthest = 0
        data = b""
        for index in range(40):
            message = b"".join(source.choice(phrases) for _ in range(source.randrange(1, 60)))
            data += deflater.compress_piece(message, first=not index, last=False)
        farthest = farthest_distance(data)
        assert farthest <= 1 << bits
        if level:
            assert farthest > 100


CHUNKS = st.lists(st.binary(max_size=40) | st.sampled_from([b"ab" * 50, bytes(300)]), max_size=6)


@given(messages=st.lists(CHUNKS, max_size=8), bits=st.integers(8, 15), takeover=st.booleans())
def test_any_messages_in_any_pieces(messages: list[list[bytes]], bits: int, takeover: bool) -> None:
    """What one side sends, whole or in fragments, compressed or not, the other receives."""
    settings = Deflate(min_size=0)
    parameters = DeflateParameters(
        server_max_window_bits=bits, server_no_context_takeover=not takeover
    )
    server = make_endpoint(settings, parameters, is_client=False)
    client = make_endpoint(settings, parameters, is_client=True)
    expected: list[Any] = []
    for chunks in messages:
        message = b"".join(chunks)
        data = server.encode_compressed(message)
        expected.append(message)
        last = len(chunks) - 1
        for index, chunk in enumerate(chunks):
            data += server.encode_fragment(chunk, first=not index, last=index == last, text=False)
        expected += [message] * bool(chunks)
        data += server.encode_compressed("t" * len(message))
        expected.append("t" * len(message))
        half = len(data) // 3
        for piece in (data[:half], data[half:]):
            events = client.receive_data(piece, len(piece))
            assert expected[: len(events)] == events
            del expected[: len(events)]
    assert expected == []


def make_endpoint(
    settings: Deflate | None = None,
    parameters: DeflateParameters | None = None,
    *,
    is_client: bool = True,
    limit: int = 5000,
    **options: Any,
) -> Endpoint:
    settings = Deflate(min_size=0) if settings is None else settings
    deflater, inflater = settings.build(parameters or DeflateParameters(), is_client=is_client)
    return Endpoint(
        is_client=is_client,
        max_message_size=limit,
        next_mask_key=(lambda: b"\x01\x02\x03\x04") if is_client else None,
        deflater=deflater,
        inflater=inflater,
        **options,
    )


def receive(endpoint: Endpoint, data: bytes) -> list[Any]:
    return [
        (str(event.error), event.error.code) if isinstance(event, Violation) else event
        for event in endpoint.receive_data(data, len(data))
    ]


class TestReceiving:
    """§6 and §7.2 in an endpoint; exact bytes."""

    def test_example(self) -> None:
        data = b"\xc1\x07" + HELLO
        endpoint = make_endpoint()
        assert receive(endpoint, data + b"\x81\x02hi" + data) == ["Hello", "hi", "Hello"]
        assert endpoint.only_messages
        assert [receive(endpoint, data[at : at + 1]) for at in range(9)][-1] == ["Hello"]

    def test_fragments_with_a_ping_between(self) -> None:
        data = b"\x41\x03" + HELLO[:3] + b"\x89\x00" + b"\x80\x04" + HELLO[3:]
        assert receive(make_endpoint(), data) == [Ping(b""), "Hello"]

    def test_masked(self) -> None:
        frame = Frame(opcode=2, payload=HELLO, rsv1=True, mask_key=b"abcd")
        assert receive(make_endpoint(is_client=False), frame.to_bytes()) == [b"Hello"]

    @pytest.mark.parametrize(
        "data",
        [b"\x41\x00\xc0\x00", b"\x01\x00\xc0\x00", b"\xc9\x00", b"\xca\x00", b"\xc8\x00", b"\xc3\x00"],
        ids=["continued", "continuation", "ping", "pong", "close", "reserved opcode"],
    )  # fmt: skip
    def test_only_the_first_frame_of_a_message_says_so(self, data: bytes) -> None:
        expected = ("reserved bits 100 are set, but no extension defines them", 1002)
        assert receive(make_endpoint(), data) == [expected]

    def test_not_without_agreement(self) -> None:
        """CVE-2026-59881."""
        endpoint = Endpoint(is_client=False, max_message_size=100)
        frame = Frame(opcode=1, payload=HELLO, rsv1=True, mask_key=b"abcd")
        expected = ("reserved bits 100 are set, but no extension defines them", 1002)
        assert receive(endpoint, frame.to_bytes()) == [expected]

    def test_text_is_judged_as_it_comes_out(self) -> None:
        compressor = zlib.compressobj(wbits=-15)
        payload = compressor.compress(b"ok \xff" + b"x" * 50) + compressor.flush(zlib.Z_SYNC_FLUSH)
        head = bytes([0x41, len(payload) + 50])
        assert receive(make_endpoint(), head + payload) == [("a text message is not UTF-8", 1007)]

    def test_bomb(self) -> None:
        """CVE-2018-1000518, CVE-2026-1526: the limit is that of what comes out."""
        compressor = zlib.compressobj(9, wbits=-15)
        payload = compressor.compress(bytes(10_000_000)) + compressor.flush(zlib.Z_SYNC_FLUSH)
        frame = Frame(opcode=2, payload=payload[:4000], rsv1=True).to_bytes()
        expected = ("the message has at least 5001 bytes; at most 5000 are accepted", 1009)
        assert receive(make_endpoint(), frame) == [expected]

    def test_limit_then_malformed(self) -> None:
        """GHSA-3wwx-pv8p-q78v: the first violation is the last event."""
        compressor = zlib.compressobj(9, wbits=-15)
        payload = compressor.compress(bytes(6000)) + compressor.flush(zlib.Z_SYNC_FLUSH)
        endpoint = make_endpoint()
        first = Frame(opcode=2, payload=payload, rsv1=True, fin=False).to_bytes()
        second = Frame(opcode=0, payload=b"\xff" * 20).to_bytes()
        expected = ("the message has at least 5001 bytes; at most 5000 are accepted", 1009)
        assert receive(endpoint, first + second) == [expected]
        assert receive(endpoint, second) == []

    def test_frames_are_reported_as_they_came(self) -> None:
        endpoint = make_endpoint(report_frames=True)
        first = Frame(opcode=1, payload=HELLO[:3], fin=False, rsv1=True)
        last = Frame(opcode=0, payload=HELLO[3:])
        events = receive(endpoint, first.to_bytes() + last.to_bytes())
        assert events == [first, last, "Hello"]


class TestSending:
    def test_example(self) -> None:
        text = "Hello " * 4
        server, client = make_endpoint(is_client=False), make_endpoint()
        frame = server.encode_compressed(text)
        assert frame[0] == 0xC1
        assert len(frame) < len(text)
        assert receive(client, frame) == [text]
        assert receive(server, client.encode_compressed(memoryview(b"b" * 20))) == [b"b" * 20]

    def test_control_frames_never(self) -> None:
        endpoint = make_endpoint(is_client=False)
        assert endpoint.encode_ping(b"a" * 100) == b"\x89\x64" + b"a" * 100
        assert endpoint.encode_pong(b"a" * 100) == b"\x8a\x64" + b"a" * 100
        assert endpoint.encode_close(1000, "a" * 100) == b"\x88\x66\x03\xe8" + b"a" * 100

    def test_as_it_is_where_that_is_shorter(self) -> None:
        endpoint = make_endpoint(is_client=False)
        assert endpoint.encode_compressed("") == b"\x81\x00"
        short = make_endpoint(Deflate(), is_client=False)
        assert short.encode_compressed(b"abc") == b"\x82\x03abc"
        only_receiving = make_endpoint(Deflate(compress=False), is_client=False)
        assert only_receiving.encode_compressed("a" * 100) == b"\x81\x64" + b"a" * 100

    def test_fragments(self) -> None:
        endpoint = make_endpoint(is_client=False)
        frames = [
            endpoint.encode_fragment("a" * 50, first=True, last=False, text=True),
            endpoint.encode_fragment(b"b" * 50, first=False, last=False, text=True),
            endpoint.encode_fragment("", first=False, last=True, text=True),
        ]
        assert [frame[0] for frame in frames] == [0x41, 0x00, 0x80]
        assert receive(make_endpoint(), b"".join(frames)) == ["a" * 50 + "b" * 50]

    @pytest.mark.parametrize("message", [5, None, ["a"]])
    def test_no_message(self, message: Any) -> None:
        with pytest.raises(TypeError, match="a message is str or bytes-like, not"):
            make_endpoint().encode_compressed(message)

    def test_lone_surrogates(self) -> None:
        endpoint = make_endpoint()
        with pytest.raises(LocalProtocolError, match=r"lone surrogate U\+D800 at index 1"):
            endpoint.encode_compressed("a\ud800")
        with pytest.raises(LocalProtocolError, match=r"lone surrogate U\+D800 at index 1"):
            endpoint.encode_fragment("a\ud800", first=True, last=True, text=True)
