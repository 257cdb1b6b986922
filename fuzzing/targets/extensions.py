"""The header Sec-WebSocket-Extensions is read, or refused with ValueError, and nothing else happens.

What was read, written again, reads the same; what a server agrees on, the client that offered it
takes, unless it was not asked for; and both ends of an agreement fit together.
"""

from __future__ import annotations

from fuzzing.targets import deflate
from hubws.errors import HandshakeRefused, UpgradeRefused
from hubws.protocol.deflate import NAME, Deflate, DeflateParameters
from hubws.protocol.extensions import Extension, parse_extensions
from hubws.protocol.handshake import EXTENSIONS, accept_key, check_response, choose_compression
from hubws.protocol.http import Headers, Response

SETTINGS = (
    Deflate(),
    Deflate(server_no_context_takeover=True, client_no_context_takeover=True),
    Deflate(server_max_window_bits=9, client_max_window_bits=10),
    Deflate(server_max_window_bits=8, client_no_context_takeover=True),
)
KEY = bytes(16)


def check(data: bytes) -> None:
    """The first byte says what the two sides want; the others are the header's lines."""
    option, text = (data[0], data[1:].decode("latin-1")) if data else (0, "")
    own = SETTINGS[option & 3]
    lines = text.split("\n")
    headers = Headers([(EXTENSIONS, line) for line in lines])
    try:
        extensions = parse_extensions(lines)
    except ValueError:
        extensions = None
    if extensions is not None:
        assert parse_extensions([", ".join(map(str, extensions))]) == extensions
        for extension in extensions:
            check_parameters(extension)
    try:
        agreed = choose_compression(headers, own)
    except UpgradeRefused as refused:
        assert extensions is None
        assert refused.response.status == 400
    else:
        assert extensions is not None
        check_agreement(agreed, own)
        assert (agreed is None) <= (own.accept(extensions) is None)
    check_answer(headers, own)


def check_parameters(extension: Extension) -> None:
    """Parameters that could be read are the same when they are written and read again."""
    for is_offer in (False, True):
        try:
            read = DeflateParameters.read(extension, is_offer=is_offer)
        except ValueError:
            continue
        for bits in (read.server_max_window_bits, read.client_max_window_bits):
            assert bits is None or 8 <= bits <= 15
        written = read.to_extension(is_offer=is_offer)
        assert DeflateParameters.read(written, is_offer=is_offer) == read


def check_agreement(agreed: DeflateParameters | None, own: Deflate) -> None:
    """What the server compresses, the client inflates, and the other way round."""
    if agreed is None:
        return
    server_out, server_in = own.build(agreed, is_client=False)
    client_out, client_in = Deflate().build(agreed, is_client=True)
    for deflater, inflater in ((server_out, client_in), (client_out, server_in)):
        assert deflater is not None
        for message in (b"x" * 3000, bytes(range(256)) * 20, b"x" * 3000):
            compressed = deflater.compress(message)
            if compressed is not None:  # else it is better sent as it is
                assert deflate.inflate(inflater, compressed) == message


def check_answer(headers: Headers, own: Deflate) -> None:
    """A client believes an answer only if it is one to what it offered."""
    lines = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept_key("AAAAAAAAAAAAAAAAAAAAAA==")),
        *headers,
    ]
    try:
        _, agreed = check_response(Response(101, headers=lines), KEY, (), own)
    except HandshakeRefused:
        return
    answers = parse_extensions(headers.get_all(EXTENSIONS))
    assert (agreed is None) == (not answers)
    if agreed is not None:
        assert answers[0].name == NAME
        offer = own.offer()
        assert agreed.server_no_context_takeover >= offer.server_no_context_takeover
        for asked, got in (
            (offer.server_max_window_bits, agreed.server_max_window_bits),
            (offer.client_max_window_bits, agreed.client_max_window_bits),
        ):
            assert got is None or asked is None or got <= asked


def seeds() -> list[bytes]:
    """What browsers and libraries send, and what has broken parsers elsewhere."""
    headers = [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_max_window_bits=10; client_max_window_bits=12",
        'permessage-deflate; server_no_context_takeover; client_max_window_bits="15", x-other',
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=08\npermessage-deflate",
        "permessage-deflate; server_max_window_bits=9; client_no_context_takeover",
        "permessage-bzip2; x, , permessage-deflate",
        'a; b="\\c\\c\\c',
        'a; b="x\\"y"; c="d e"',
        "a;b=c;d",
    ]
    return [bytes([option]) + header.encode() for header in headers for option in range(4)]
