"""A URL is refused with `LocalProtocolError`, or makes a request that a server takes.

That request asks for the target that the URL names, and has no more lines than were meant.
"""

from __future__ import annotations

from hubws.errors import LocalProtocolError
from hubws.protocol.address import Address
from hubws.protocol.handshake import build_request, check_host, check_request
from hubws.protocol.http import RequestReader

KEY = bytes(16)


def check(data: bytes) -> None:
    """The lines are the URL, an Origin, a subprotocol, and a header's name and value."""
    url, origin, subprotocol, name, value, *_ = (data.decode(errors="replace") + "\n" * 4).split(
        "\n"
    )
    try:
        address = Address.from_url(url)
    except LocalProtocolError:
        return
    try:
        sent = build_request(
            address,
            KEY,
            subprotocols=[subprotocol] if subprotocol else [],
            origin=origin or None,
            headers=[(name, value)] if name else [],
        )
    except LocalProtocolError:
        return
    reader = RequestReader()
    request = reader.receive_data(sent)
    assert request is not None
    assert reader.rest == b""
    assert len(reader.lines) == 5 + bool(subprotocol) + bool(origin) + (
        address.authorization is not None
    ) + (bool(name) and name.lower() != "host")
    assert (request.target, request.version) == (address.target, "1.1")
    assert 0 <= address.port <= 65535
    if name.lower() in ("host", "content-length", "transfer-encoding"):
        return  # the application's own business
    check_host(reader.headers)
    check_request(request, reader.headers)


def seeds() -> list[bytes]:
    """URLs that are taken, and some that are not."""
    urls = [
        "ws://example.org",
        "wss://user@example.org:443/a/b?c=d",
        "wss://[::1]:8443/%20?a&b=c;d",
        "WS://EXAMPLE.org:80?x",
        "ws://a:99999/",
        "ws://a/#f",
        "http://a/",
        "ws:///a",
        "ws://xn--bcher-kva.example/b\u00fccher",
        "ws://a b/",
        "ws://127.0.0.1/\nhttp://a\nchat\nX-Name\nvalue",
        "ws://a/\n\n\nHost\nb:1",
    ]
    return [url.encode() for url in urls]
