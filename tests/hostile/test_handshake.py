"""Opening handshakes that mean no good, sent to a server."""

from __future__ import annotations

from base64 import b64encode

import pytest
import trio

import hubws

from .attacker import ENDED, FIN, HELD_BACK, SERVED, TEXT, Raw, frame, request
from .siege import besiege

# -- time -----------------------------------------------------------------------------------------


async def test_slow_request(siege) -> None:
    """A request that comes a byte at a time, on 50 connections."""
    clients = [await siege.connect("hasty") for _ in range(50)]

    async def trickle() -> None:
        for byte in request("X: " + 1000 * "x"):
            for client in clients:
                await client.send(bytes([byte]))
            await trio.sleep(0.02)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trickle)
        for client in clients:
            siege.expect(ENDED, await client.end())
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="the start of a hello"),
    ],
)
async def test_tls_stall(siege, said) -> None:
    """A TLS handshake that does not go on, on 20 connections."""
    clients = [await siege.connect("tls") for _ in range(20)]
    for client in clients:
        await client.send(said)
    for client in clients:
        siege.expect(ENDED, await client.gone())


async def test_no_tls(siege) -> None:
    """A plain request to a TLS port."""
    client = await siege.connect("tls")
    await client.send(request())
    siege.expect(ENDED, await client.gone())


async def test_silence_behind_tls(siege) -> None:
    """A TLS handshake, and then nothing."""
    client = await siege.connect("tls")
    tls = trio.SSLStream(
        client.stream, siege.victim.tls, server_hostname="localhost", https_compatible=True
    )
    await tls.do_handshake()
    siege.expect(ENDED, await Raw(tls).gone())


async def test_silence(siege) -> None:
    """3,000 connections that say nothing, and leave."""
    siege.fills = 3000 * 4096
    clients = [await siege.connect() for _ in range(3000)]
    for client in clients:
        await client.stream.aclose()
    siege.outcome = SERVED


async def test_silent_crowd(siege) -> None:
    """1,200 connections that say nothing and stay, while somebody else wants to be served."""
    siege.fills = 1200 * 4096
    for _ in range(1200):
        await siege.connect()
    before = siege.victim.log()
    assert await siege.victim.serves("echo")
    assert siege.victim.log() == before, "served only once the time of the crowd had run out"
    siege.outcome = SERVED


async def test_page_is_never_read(siege) -> None:
    """A page of 8 MiB that is asked for and never read, on 4 connections."""
    siege.fills = 4 * 2 * 8 * 1024 * 1024  # with a copy of each
    for _ in range(4):
        client = await siege.connect("hasty", receive_buffer=4096)
        await client.send(b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await siege.until_alone("hasty")
    siege.outcome = ENDED


async def test_refused_and_stays(siege) -> None:
    """A client that is refused, and does not hang up, on 20 connections."""
    clients = [await siege.connect("hasty") for _ in range(20)]
    for client in clients:
        await client.send(request(Host=None))
    await siege.until_alone("hasty")
    for client in clients:
        siege.expect(400, await client.end())


# -- size -----------------------------------------------------------------------------------------


def many(line: str, count: int) -> str:
    """That line so many times, with its number in place of a #."""
    return "\r\n".join(line.replace("#", str(number)) for number in range(count))


@pytest.mark.parametrize(
    "more",
    [
        pytest.param("X: " + 1024 * 1024 * "x", id="a line of 1 MiB"),
        pytest.param(1024 * 1024 * "x" + ": x", id="a name of 1 MiB"),
        pytest.param(many("X-#: y", 2000), id="2,000 headers (CVE-2024-37890)"),
        pytest.param(many("X: y", 100_000), id="100,000 headers (CVE-2026-54465)"),
    ],
)
async def test_head_too_large(siege, more) -> None:
    """A request with too large a head."""
    client = await siege.connect()
    await client.send(request(more))
    siege.expect(431, await client.end())


async def test_target_too_large(siege) -> None:
    """A request for a path of 1 MiB."""
    client = await siege.connect()
    await client.send(request(first=f"GET /{1024 * 1024 * 'x'} HTTP/1.1"))
    siege.expect(431, await client.end())


async def test_headers_without_end(siege) -> None:
    """A head to which 5,000 lines are added one by one (CVE-2026-54465)."""
    client = await siege.connect()
    await client.send(request()[:-2])
    for number in range(5000):
        await client.send(b"X-%d: y\r\n" % number)
    siege.expect(431, await client.end())


async def test_header_byte_by_byte(siege) -> None:
    """A header of 10,000 bytes, sent byte by byte (CVE-2023-43669)."""
    client = await siege.connect()
    await client.send_bytewise(request("X: " + 10_000 * "x"))
    siege.expect(101, await client.status())


# -- what takes quadratic time elsewhere ----------------------------------------------------------

K = 1000


@pytest.mark.parametrize(
    ("service", "more", "status"),
    [
        pytest.param(service, more, status, id=f"{name}, {service}")
        for service in ("echo", "deflate")
        for name, more, status in (
            ("a token, spaces, a token (CVE-2021-32640)",
             "Sec-WebSocket-Protocol: b" + 30 * K * " " + "x", 400),
            ("commas", "Sec-WebSocket-Protocol: chat" + 30 * K * ",", 101),
            ("commas and spaces", "Sec-WebSocket-Protocol: chat" + 15 * K * ", ", 101),
            ("5,000 subprotocols", "Sec-WebSocket-Protocol: " + 5 * K * "a,b,c,", 101),
            ("100 lines of subprotocols (CVE-2025-67725)",
             many("Sec-WebSocket-Protocol: a#", 100), 101),
            ("a quoted text that never ends (CVE-2020-7662)",
             'Sec-WebSocket-Extensions: a; b="' + 15 * K * "\\c", 400),
            ("15,000 quotes", "Sec-WebSocket-Extensions: a; b=" + 15 * K * '""', 400),
            ("backslashes", 'Sec-WebSocket-Extensions: a; b="' + 30 * K * "\\", 400),
            ("only commas", "Sec-WebSocket-Extensions: " + 30 * K * ",", 101),
            ("only semicolons", "Sec-WebSocket-Extensions: a" + 30 * K * ";", 400),
            ("semicolons and spaces", "Sec-WebSocket-Extensions: a" + 15 * K * "; ", 400),
            ("spaces", "Sec-WebSocket-Extensions: a;" + 30 * K * " " + "!@", 400),
            ("10,000 parameters (CVE-2025-67726)", "Sec-WebSocket-Extensions: a" + 10 * K * ";b",
             101),
            ("a parameter 1,000 times (CVE-2025-67726)",
             "Sec-WebSocket-Extensions: permessage-deflate" + K * "; client_max_window_bits", 101),
            ("1,500 bad offers", "Sec-WebSocket-Extensions: "
             + 1500 * "permessage-deflate;x,", 101),
            ("equals signs", "Sec-WebSocket-Extensions: a; b" + 30 * K * "=", 400),
        )
    ],
)  # fmt: skip
async def test_lists(siege, service, more, status) -> None:
    """A list of 30 KB in a header."""
    client = await siege.connect(service)
    await client.send(request(more))
    siege.expect(status, await client.end())
    assert "sec-websocket-extensions" not in client.headers


@pytest.mark.parametrize("name", ["Connection", "Upgrade"])
@pytest.mark.parametrize(
    ("pattern", "status"),
    [
        pytest.param("," + 30 * K * " ", 101, id="spaces"),
        pytest.param(10 * K * "\t,", 101, id="tabs and commas"),
        pytest.param(7 * K * "x, ", 101, id="7,000 other tokens"),
        pytest.param(30 * K * "x", 400, id="a long token"),
    ],
)
async def test_upgrade_headers(siege, name, pattern, status) -> None:
    """Connection or Upgrade with 30 KB around what matters (CVE-2023-26103)."""
    client = await siege.connect()
    value = "Upgrade" if name == "Connection" else "websocket"
    await client.send(request(**{name: pattern + value}))
    siege.expect(status, await client.end())


@pytest.mark.parametrize("count", [2, 100])
@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("Host: localhost", 400),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", 400),
        ("Sec-WebSocket-Version: 13", 426),
        ("Origin: http://localhost", 403),
        ("Content-Length: 0", 400),
    ],
)
async def test_repeated_headers(siege, line, status, count) -> None:
    """A header that may come once, and comes often (CVE-2025-67725)."""
    client = await siege.connect()
    await client.send(request(*[line] * count))
    siege.expect(status, await client.end())


# -- smuggling ------------------------------------------------------------------------------------

SMUGGLED = b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "lines",
    [
        [f"Content-Length: {len(SMUGGLED)}"],
        ["Content-Length: 5"],
        ["Transfer-Encoding: chunked"],
        ["Transfer-Encoding: identity"],
        ["Transfer-Encoding: chunked", "Content-Length: 0"],
        ["Transfer-Encoding: xchunked"],
        ["Content-Length: -1"],
        ["Content-Length: 0x0"],
        ["Content-Length: 18446744073709551616"],
        ["Content-Length: 0, 5"],
        ["Content-Length : 5"],
        ["Transfer-Encoding\t: chunked"],
        ["Transfer-Encoding:\x0bchunked"],
    ],
    ids=", ".join,
)
async def test_body(siege, lines) -> None:
    """An upgrade with a body (CVE-2026-69243), which might be another request."""
    client = await siege.connect()
    await client.send(request(*lines) + SMUGGLED)
    siege.expect(400, await client.end())


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(request(Host=None), 400, id="a refused upgrade"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 426, id="no upgrade"),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n", 426, id="a POST"
        ),
    ],
)
async def test_second_request(siege, data, status) -> None:
    """A second request behind one that is no upgrade."""
    client = await siege.connect()
    await client.send(data + SMUGGLED)
    siege.expect(status, await client.end())


async def test_frames_behind_the_request(siege) -> None:
    """Frames that come with the request, before the 101 (CVE-2026-2833)."""
    client = await siege.connect()
    await client.send(request() + frame(FIN | TEXT, b"x") + frame(FIN | TEXT, b"y"))
    assert await client.status() == 101
    assert await client.next_frame() == (FIN | TEXT, b"x")
    assert await client.next_frame() == (FIN | TEXT, b"y")
    siege.outcome = SERVED


async def test_request_behind_the_upgrade(siege) -> None:
    """A request right behind the upgrade (CVE-2026-2833): it is no frame."""
    client = await siege.connect()
    await client.send(request() + SMUGGLED)
    assert await client.status() == 101
    siege.expect(1002, await client.end())


async def test_flood_behind_the_request(siege) -> None:
    """4 MiB of messages that come with the request, whose echo is never read (CVE-2026-2833)."""
    siege.fills = 3 * 1024 * 1024
    client = await siege.connect("narrow", receive_buffer=4096)
    data = request() + 100_000 * frame(FIN | TEXT, 64 * b"x")
    siege.expect(HELD_BACK, await siege.press(client, "narrow", data))


# -- whose page, whose host -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "", "a b", "localhost/path", "user@localhost", "localhost:port", "localhost:123456", "[::1",
        "::1", "localhost:", "localhost:80:80", "local\xfchost", "localhost, evil.example", "#", "\\",
        "http://localhost", "[]", "localhost\t.evil.example", 30 * K * "." + " x", 30 * K * ":",
    ],
    ids=lambda host: ascii(host[:30]),
)  # fmt: skip
async def test_malformed_host(siege, host) -> None:
    """A Host that is none (CVE-2026-61666)."""
    client = await siege.connect()
    await client.send(request(Host=host))
    siege.expect(400, await client.end())


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example", "null", "http://localhost.evil.example", "http://evil.localhost",
        "http://localhost:81", "http://localhost@evil.example", "http://user@localhost",
        "http://localhost/path", "localhost", "file://", "", "http://", "http://[", "http://[::1",
        "http://localhost:port", "http://localhost:99999", "http://localhost:-80",
        "http://local\xfchost", "http://localhost\xa0", "//localhost", 'http://localhost"',
        "http://localhost http://evil.example", "ftp://localhost", "data:text/html,x",
    ],
    ids=ascii,
)  # fmt: skip
async def test_foreign_origin(siege, origin) -> None:
    """A page of somebody else's (PYSEC-2026-3483: cross-site hijacking)."""
    client = await siege.connect()
    await client.send(request(Origin=origin))
    siege.expect(403, await client.end())


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("evil.example", "http://evil.example"),
        ("evil.example:8000", "http://evil.example:8000"),
        ("good.example:8000", "http://evil.example"),
        ("good.example:8000", "https://good.example:8000"),
        ("good.example:8000", "http://good.example"),
        ("good.example:8000", "http://good.example:8001"),
        ("good.example:8000", "http://good.example.:8000"),
        ("good.example:8000", "http://good.example:8000.evil.example"),
        ("good.example:8000", "http://agood.example:8000"),
        ("good.example:8000", "HTTP://GOOD.EXAMPLE:8000/"),
        ("good.example:8000", None),
    ],
)
async def test_rebinding(siege, host, origin) -> None:
    """A page of another origin than those listed, by a name that leads here (CVE-2026-44211)."""
    client = await siege.connect("guarded")
    await client.send(request(Host=host, Origin=origin))
    siege.expect(403, await client.end())


async def test_plain_page_to_a_tls_server(siege) -> None:
    """A page that came without TLS connects to a TLS server of the same name (PYSEC-2026-3483)."""
    client = await siege.connect("tls")
    tls = trio.SSLStream(
        client.stream, siege.victim.tls, server_hostname="localhost", https_compatible=True
    )
    client = Raw(tls)
    await client.send(request(Host="localhost", Origin="http://localhost"))
    siege.expect(403, await client.end())


async def test_long_origin(siege) -> None:
    """An Origin of 30 KB, which the log must not repeat."""
    client = await siege.connect()
    await client.send(request(Origin="http://" + 30 * K * "x"))
    siege.expect(403, await client.end())
    assert len(client.body) < K


# -- who one says one is --------------------------------------------------------------------------


async def test_wrong_credentials(siege) -> None:
    """Wrong name, wrong password, none at all: the answers tell nothing (CVE-2021-33880)."""
    answers = set()
    for credentials in (
        b"ada:secreT",
        b"ada:s",
        b"ada:",
        b"bob:secret",
        b":",
        b"ada:" + 9000 * b"x",
    ):
        client = await siege.connect("secret")
        await client.send(request(f"Authorization: Basic {b64encode(credentials).decode()}"))
        siege.expect(401, await client.end())
        answers.add((client.body, *client.headers.items()))
    assert len(answers) == 1


@pytest.mark.parametrize(
    "lines",
    [
        [], ["Authorization: Basic"], ["Authorization: Basic !"], ["Authorization: Basic YWRh"],
        ["Authorization: Basic " + 7 * K * "AAAA"], ["Authorization: Basic /////w=="],
        ["Authorization: Basic YWRhOnNlY3JldA"], ["Authorization: Basic \xff"],
        ["Authorization: Bearer YWRhOnNlY3JldA=="], ["Authorization: BasicYWRhOnNlY3JldA=="],
        2 * ["Authorization: Basic YWRhOnNlY3JldA=="], ["Authorization: Basic YWRhOu2ggA=="],
    ],
    ids=lambda lines: ascii(", ".join(lines)[:60]),
)  # fmt: skip
async def test_malformed_credentials(siege, lines) -> None:
    """Credentials that can't be read."""
    client = await siege.connect("secret")
    await client.send(request(*lines))
    siege.expect(401, await client.end())


async def test_flood_while_authenticating(siege) -> None:
    """4 MiB that come while the application thinks about whom to let in (CVE-2026-2833)."""
    client = await siege.connect("pondering")
    await client.send(request() + 4 * frame(FIN | 3, bytes(1024 * 1024)))
    assert await client.status() == 101
    siege.expect(1002, await client.end())


async def test_going_while_authenticating(siege) -> None:
    """50 clients that go while the application thinks about them."""
    for _ in range(50):
        client = await siege.connect("pondering")
        await client.send(request())
        client.reset()
    siege.outcome = ENDED


# -- not HTTP, or not quite -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        pytest.param({"Sec_WebSocket_Version": "7", "Upgrade": None, "Connection": None}, 400,
                     id="version 7 without Upgrade (GHSA-4mp9-239f-g9hg)"),
        pytest.param({"Sec_WebSocket_Version": "7"}, 426, id="version 7"),
        pytest.param({"Sec_WebSocket_Version": "13, 8"}, 426, id="two versions"),
        pytest.param({"Sec_WebSocket_Version": "0x0d"}, 426, id="version 0x0d"),
        pytest.param({"Sec_WebSocket_Version": None}, 426, id="no version"),
        pytest.param({"Sec_WebSocket_Version": 30 * K * "1"}, 426, id="a version of 30 KB"),
        pytest.param({"Sec_WebSocket_Key": None}, 400, id="no key"),
        pytest.param({"Sec_WebSocket_Key": ""}, 400, id="an empty key"),
        pytest.param({"Sec_WebSocket_Key": "c2hvcnQ="}, 400, id="a short key"),
        pytest.param({"Sec_WebSocket_Key": 10 * K * "AAAA"}, 431, id="a key of 40 KB"),
        pytest.param({"Sec_WebSocket_Key": 7 * K * "AAAA"}, 400, id="a key of 28 KB"),
        pytest.param({"Sec_WebSocket_Key": 22 * "\xff" + "=="}, 400, id="a key that is not ASCII"),
        pytest.param({"Upgrade": None}, 400, id="no Upgrade"),
        pytest.param({"Upgrade": "h2c"}, 400, id="another Upgrade"),
        pytest.param({"Connection": None}, 400, id="no Connection"),
        pytest.param({"first": "POST / HTTP/1.1"}, 405, id="POST"),
        pytest.param({"first": "CONNECT localhost:80 HTTP/1.1"}, 405, id="CONNECT"),
        pytest.param({"first": "GET / HTTP/1.0"}, 505, id="HTTP/1.0"),
        pytest.param({"first": "GET / HTTP/0.9"}, 400, id="HTTP/0.9"),
        pytest.param({"first": "GET / HTTP/2.0"}, 505, id="HTTP/2"),
        pytest.param({"first": "GET / HTTP/9.9"}, 400, id="HTTP/9.9"),
        pytest.param({"first": "GET /"}, 400, id="no version of HTTP"),
        pytest.param({"first": "GET  HTTP/1.1"}, 400, id="no target"),
        pytest.param({"first": "get / HTTP/1.1"}, 400, id="a small get"),
        pytest.param({"first": "G\x00T / HTTP/1.1"}, 400, id="a NUL in the method"),
    ],
)  # fmt: skip
async def test_improper_request(siege, changes, status) -> None:
    """A request that is no proper opening handshake."""
    client = await siege.connect()
    await client.send(request(**changes))
    siege.expect(status, await client.end())


@pytest.mark.parametrize(
    "line",
    [
        "no colon", ": no name", "X : a space before the colon", "X\x00: a NUL in the name",
        "X: a NUL \x00", "X: a CR \r here", " folded", "X\xff: not ASCII", "X(: no token",
        "X: a bell \x07", "X: DEL \x7f", "X: an escape \x1b[2J",
    ],
    ids=ascii,
)  # fmt: skip
async def test_malformed_line(siege, line) -> None:
    """A header line that is none."""
    client = await siege.connect()
    await client.send(request(line))
    siege.expect(400, await client.end())


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\xfc" + bytes(500), id="a TLS hello"),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", id="SSH"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2's preface"),
        pytest.param(bytes(100_000), id="NULs"),
        pytest.param(bytes(range(128, 256)), id="bytes over 127"),
        pytest.param(request().replace(b"\r\n", b"\n"), id="lines without CR"),
        pytest.param(request().replace(b"\r\n", b"\r"), id="lines without LF"),
        pytest.param(frame(FIN | TEXT, b"x"), id="a frame"),
        pytest.param(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", id="a response"),
    ],
)
async def test_not_http(siege, data) -> None:
    """Something that is not HTTP."""
    client = await siege.connect("hasty")
    await client.send(data)
    siege.expect(400, await client.end())


async def test_empty_lines(siege) -> None:
    """100,000 empty lines before the request."""
    client = await siege.connect()
    await client.send(50_000 * b"\r\n")
    await client.send(50_000 * b"\r\n")
    await client.send(request())
    siege.expect(101, await client.status())


async def test_all_bytes_in_values(siege) -> None:
    """All bytes from 0x80 to 0xFF in a header's value, in the path, and in a cookie."""
    every = bytes(range(128, 256))
    client = await siege.connect()
    await client.send(request(b"X: " + every, b"Cookie: a=" + every))
    await client.status()
    await client.echo()
    siege.outcome = SERVED


# -- the application's own headers ----------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/to/x%0d%0aSet-Cookie:%20a=b", "/to/x%0aSet-Cookie:%20a=b", "/to/x%00", "/to/%e2%82%ac"],
)
async def test_careless_redirect(siege, path) -> None:
    """CR and LF in a header of the application's response (CVE-2026-1527)."""
    siege.tracebacks = 1  # it is the application's own error
    client = await siege.connect()
    await client.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    siege.expect(500, await client.end())
    assert "set-cookie" not in client.headers


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"X": "y\r\nSet-Cookie: a=b"}},
        {"headers": {"X\r\nY": "z"}},
        {"headers": {"X": "y\n"}},
        {"subprotocols": ["a\r\nX: y"]},
        {"origins": "a\r\nX: y"},
    ],
    ids=str,
)
async def test_line_breaks(siege, options) -> None:
    """CR and LF in what the application passes to serve (CVE-2026-1527)."""
    with pytest.raises(ValueError):  # noqa: PT011 - each says something else
        await hubws.serve(hubws.Callbacks(), "127.0.0.1", 0, **options)
    siege.outcome = "ValueError"


# -- descriptors ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def poor_victim(start_victim):
    """A victim that may have few descriptors."""
    return start_victim(descriptors=64)


async def test_descriptors_run_out(poor_victim, names) -> None:
    """100 connections to a server that may have 64 descriptors (trio's serve_listeners)."""
    async with besiege(poor_victim, names) as siege:
        siege.warnings = 3  # one a second
        for _ in range(100):
            await siege.connect()
        while not any("Too many open files" in line for line in poor_victim.log()):
            await trio.sleep(0.02)
        siege.outcome = HELD_BACK
