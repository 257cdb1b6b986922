"""Servers that mean no good, and whoever makes a client dial where it should not."""

from __future__ import annotations

import json

import pytest
import trio

from .attacker import (
    BINARY,
    CLOSE,
    CONTINUATION,
    ENDED,
    FIN,
    HELD_BACK,
    PING,
    RSV1,
    SERVED,
    TEXT,
    Raw,
    close,
    frame,
)

LIMIT = 1024 * 1024
"""The victim's max_message_size."""

HASTY = {"keepalive_interval": 0.1, "keepalive_timeout": 0.3, "close_timeout": 0.3}


def server_frame(first: int, payload: bytes = b"", **options: int) -> bytes:
    """A frame as servers send it: not masked."""
    return frame(first, payload, key=None, **options)


def answering(*lines: str | bytes, more: bytes = b"", **changes: str | None):
    """A server that answers with a 101 and more lines, or changed ones, and hangs up as it should."""

    async def script(peer: Raw) -> None:
        await peer.accept(*lines, **changes)
        await peer.send(more)
        await peer.until_close()

    return script


def saying(*pieces: bytes, forever: bytes = b"", pause: float = 0):
    """A server that answers with these bytes, whatever was asked, and goes on for ever."""

    async def script(peer: Raw) -> None:
        await peer.head()
        for piece in pieces:
            await peer.send(piece)

        async def go_on() -> None:
            while True:
                await peer.stream.send_all(forever)
                await trio.sleep(pause)

        if forever:
            await peer.quietly(go_on)
        else:
            await peer.gone()

    return script


# -- answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "header", "body"),
    [
        pytest.param(200, b"Content-Length: 1000000000000", 65536 * b"x", id="200, 1 TB"),
        pytest.param(301, b"Connection: close", 65536 * b"x", id="301, without end"),
        pytest.param(
            401,
            b"Transfer-Encoding: chunked",
            b"1000\r\n" + 4096 * b"x" + b"\r\n",
            id="401, chunks",
        ),
        pytest.param(500, b"Transfer-Encoding: chunked", b"1\r\nx\r\n", id="500, tiny chunks"),
        pytest.param(426, b"Upgrade: websocket", 65536 * b"x", id="426, without end"),
    ],
)
async def test_endless_body(siege, status, header, body) -> None:
    """A refusal with a body without end."""
    head = b"HTTP/1.1 %d Whatever\r\n%b\r\n\r\n" % (status, header)
    report = await siege.dial(saying(head, forever=body))
    siege.expect("HandshakeRefused", report["error"])
    assert f"answered {status}" in report["words"]
    assert len(report["words"]) < 1000


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("place", ["ws://127.0.0.1", "http://127.0.0.1", "ws://localhost"])
async def test_redirect(siege, status, place) -> None:
    """A redirect that credentials must not follow (CVE-2026-47848, CVE-2026-49853, CVE-2026-48022)."""
    (elsewhere,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    url = f"{place}:{elsewhere.socket.getsockname()[1]}/"
    answer = f"HTTP/1.1 {status} Elsewhere\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n"
    told: list[dict[str, str]] = []
    async with elsewhere, trio.open_nursery() as nursery:

        async def refuse_whoever_comes() -> None:
            async with await elsewhere.accept() as stream:
                peer = Raw(stream)
                await peer.head()
                told.append(peer.headers)
                await peer.send(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
                await peer.gone()

        nursery.start_soon(refuse_whoever_comes)
        report = await siege.dial(
            saying(answer.encode()), headers={"Authorization": "Basic c2VjcmV0", "Cookie": "a=b"}
        )
        nursery.cancel_scope.cancel()
    siege.expect("HandshakeRefused", report["error"])
    assert "answered 403" in report["words"]
    assert len(told) == 1
    assert not {"authorization", "cookie"} & told[0].keys()


@pytest.mark.parametrize(
    ("lines", "changes"),
    [
        pytest.param([], {"Sec_WebSocket_Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
                     id="another key's Accept (AsyncHttpClient 2.16.1)"),
        pytest.param([], {"Sec_WebSocket_Accept": None}, id="no Accept (AsyncHttpClient 2.16.1)"),
        pytest.param([], {"Sec_WebSocket_Accept": ""}, id="an empty Accept"),
        pytest.param(["Sec-WebSocket-Accept: x"], {}, id="two Accepts"),
        pytest.param([], {"Upgrade": None}, id="no Upgrade"),
        pytest.param([], {"Upgrade": "websocket2"}, id="another Upgrade"),
        pytest.param([], {"Connection": None}, id="no Connection"),
        pytest.param([], {"Connection": "close"}, id="Connection: close"),
        pytest.param(["Sec-WebSocket-Protocol: chat"], {}, id="a subprotocol not offered"),
        pytest.param(["Sec-WebSocket-Protocol: "], {}, id="an empty subprotocol"),
        pytest.param(["Sec-WebSocket-Extensions: permessage-deflate"], {},
                     id="compression not offered"),
        pytest.param(["Sec-WebSocket-Extensions: x-unknown; a=b"], {}, id="an unknown extension"),
        pytest.param(['Sec-WebSocket-Extensions: a; b="' + 5000 * "\\c"], {},
                     id="a quoted text that never ends (CVE-2020-7662)"),
        pytest.param(["Sec-WebSocket-Extensions: a" + 10_000 * ";b"], {}, id="10,000 parameters"),
    ],
)  # fmt: skip
async def test_untrue_acceptance(siege, lines, changes) -> None:
    """A 101 that must not be believed."""
    report = await siege.dial(answering(*lines, **changes))
    siege.expect("HandshakeRefused", report["error"])


@pytest.mark.parametrize("side", ["server", "client"])
@pytest.mark.parametrize(
    "bits", ["=0", "=7", "=16", "=015", "=", "", "=-9", "=8.0", '="15 "', "=1\xb2"]
)
async def test_window_bits(siege, side, bits) -> None:
    """A window in the server's answer that is none (CVE-2026-2229)."""
    line = f"Sec-WebSocket-Extensions: permessage-deflate; {side}_max_window_bits{bits}"
    report = await siege.dial(answering(line), compression=True)
    siege.expect("HandshakeRefused", report["error"])


@pytest.mark.parametrize(
    "answer",
    [
        "permessage-deflate; x",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate, permessage-deflate",
        "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
        "x-webkit-deflate-frame",
        "permessage-deflate, x-other",
    ],
)
async def test_untrue_compression(siege, answer) -> None:
    """An answer that agrees on what was not offered."""
    script = answering(f"Sec-WebSocket-Extensions: {answer}")
    report = await siege.dial(script, compression=True)
    siege.expect("HandshakeRefused", report["error"])


@pytest.mark.parametrize(
    ("script", "error"),
    [
        pytest.param(saying(b"SSH-2.0-OpenSSH_9.6\r\n"), "HandshakeError", id="SSH"),
        pytest.param(saying(bytes(100_000)), "HandshakeError", id="NULs"),
        pytest.param(saying(b"HTTP/1.1 101 \xff\r\n\xff: x\r\n\r\n"), "HandshakeError",
                     id="a name of 0xff (CVE-2026-55517)"),
        pytest.param(saying(b"HTTP/1.1 101 x\r\nX: \x00\r\n\r\n"), "HandshakeError", id="a NUL"),
        pytest.param(saying(b"HTTP/1.1 101 x\r\nX : y\r\n\r\n"), "HandshakeError", id="X :"),
        pytest.param(saying(b"HTTP/1.1 101 x\nUpgrade: websocket\n\n"), "HandshakeError",
                     id="lines without CR"),
        pytest.param(saying(b"HTTP/2 101 x\r\n\r\n"), "HandshakeError", id="HTTP/2"),
        pytest.param(saying(b"HTTP/1.1 99999 x\r\n\r\n"), "HandshakeError", id="status 99999"),
        pytest.param(saying(b"HTTP/1.1 200 x\r\n", forever=1000 * b"X: y\r\n"), "HandshakeError",
                     id="headers without end"),
        pytest.param(saying(b"HTTP/1.1 200 x\r\nX: ", forever=65536 * b"x"), "HandshakeError",
                     id="a header without end"),
        pytest.param(saying(b"HTTP/1.1 200 ", forever=65536 * b"x"), "HandshakeError",
                     id="a reason without end"),
        pytest.param(saying(forever=100 * b"HTTP/1.1 100 Continue\r\n\r\n"), "HandshakeError",
                     id="interim responses without end"),
        pytest.param(saying(forever=b"HTTP/1.1 103 Hints\r\n" + 100 * b"Link: x\r\n" + b"\r\n"),
                     "HandshakeError", id="early hints without end"),
        pytest.param(saying(forever=65536 * b"\r\n"), "HandshakeError", id="empty lines"),
        pytest.param(saying(), "HandshakeTimeout", id="nothing"),
        pytest.param(saying(b"HTTP/1.1 101 Swit"), "HandshakeTimeout", id="half a line"),
        pytest.param(saying(b"HTTP/1.1 101 x\r\nX: ", forever=b"x", pause=0.02), "HandshakeTimeout",
                     id="a header byte by byte (CVE-2026-47073)"),
        pytest.param(saying(forever=b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.05),
                     "HandshakeTimeout", id="interim responses at leisure (CVE-2026-47073)"),
        pytest.param(saying(b"HTTP/1.1 403 No\r\nContent-Length: 100\r\n\r\n", forever=b"x",
                            pause=0.02),
                     "HandshakeTimeout", id="a body byte by byte (CVE-2026-47073)"),
    ],
)  # fmt: skip
async def test_no_answer(siege, script, error) -> None:
    """An answer that is none, or never ends."""
    seconds = 0.25 if error == "HandshakeTimeout" else 10
    report = await siege.dial(script, timeout=seconds)
    siege.expect(error, report["error"])


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 101 Swit", b"HTTP/1.1 101 Switching\r\nX: y\r\n"])
@pytest.mark.parametrize("by", ["end", "reset"])
async def test_end_before_the_answer(siege, said, by) -> None:
    """The server goes before it has answered."""

    async def script(peer: Raw) -> None:
        await peer.head()
        await peer.send(said)
        if by == "reset":
            peer.reset()
        else:
            await peer.stream.aclose()

    siege.expect("HandshakeError", (await siege.dial(script))["error"])


async def test_tls_stall(siege) -> None:
    """A server that says nothing in its TLS handshake."""

    async def script(peer: Raw) -> None:
        await peer.gone()

    report = await siege.dial(script, scheme="wss", timeout=0.25)
    siege.expect("HandshakeTimeout", report["error"])


async def test_no_tls(siege) -> None:
    """A server that answers a TLS hello in plain."""

    async def script(peer: Raw) -> None:
        await peer.more()
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.gone()

    siege.expect("HandshakeError", (await siege.dial(script, scheme="wss"))["error"])


async def test_answer_byte_by_byte(siege) -> None:
    """A 101 that comes in pieces of one byte, and a frame behind it."""

    async def script(peer: Raw) -> None:
        await peer.head()
        await peer.send_bytewise(peer.acceptance() + server_frame(FIN | TEXT, b"x"))
        peer.is_upgraded = True
        assert await peer.next_frame() == (FIN | TEXT, b"x")
        await peer.send(close(1000, key=None))
        await peer.until_close()

    report = await siege.dial(script)
    assert (report["messages"], report["received"]) == (1, 1000)
    siege.outcome = SERVED


async def test_frames_behind_the_answer(siege) -> None:
    """Frames that come with the 101."""

    async def script(peer: Raw) -> None:
        await peer.head()
        await peer.send(peer.acceptance() + 1000 * server_frame(FIN | TEXT, b"x"))
        peer.is_upgraded = True
        for _ in range(1000):
            assert await peer.next_frame() == (FIN | TEXT, b"x")
        await peer.send(close(1000, key=None))
        await peer.until_close()

    report = await siege.dial(script)
    assert (report["messages"], report["received"]) == (1000, 1000)
    siege.outcome = SERVED


@pytest.mark.parametrize(
    "line", ["Content-Length: 5", "Transfer-Encoding: chunked", "Content-Length: 1000000000000"]
)
async def test_acceptance_with_a_body(siege, line) -> None:
    """A 101 that says it has a body: what follows are frames all the same, or it is refused."""
    script = answering(line, more=server_frame(FIN | 3))
    report = await siege.dial(script)
    assert report["error"] in {"HandshakeRefused", "ConnectionClosed"}
    assert report["sent"] in {None, 1002}
    siege.outcome = report["sent"] or report["error"]


async def test_all_bytes_in_the_answer(siege) -> None:
    """All bytes from 0x80 to 0xFF in a header of the 101 (CVE-2026-55517)."""
    every = bytes(range(128, 256))
    script = answering(b"X: " + every, b"Set-Cookie: a=" + every, more=close(1000, key=None))
    report = await siege.dial(script)
    assert (report["opened"], report["received"]) == (True, 1000)
    siege.outcome = SERVED


# -- frames ---------------------------------------------------------------------------------------

BROKEN = {
    "RSV1 that was not negotiated (CVE-2026-59881)": (server_frame(FIN | RSV1 | TEXT, b"x"), 1002),
    "RSV2": (server_frame(FIN | 0x20 | TEXT, b"x"), 1002),
    "RSV3 of a ping": (server_frame(FIN | 0x10 | PING, b"x"), 1002),
    "a reserved opcode with 2^62 bytes": (server_frame(FIN | 3, declared=1 << 62), 1002),
    "a reserved control opcode": (server_frame(FIN | 11), 1002),
    "a masked text": (frame(FIN | TEXT, b"x"), 1002),
    "a masked ping": (frame(FIN | PING, b"x"), 1002),
    "a masked close": (close(1000), 1002),
    "2^62 bytes, declared (CVE-2026-1528)": (server_frame(FIN | BINARY, declared=1 << 62), 1009),
    "2^63 bytes, declared": (server_frame(FIN | BINARY, declared=1 << 63), 1002),
    "a length that is not in the fewest bytes": (
        server_frame(FIN | TEXT, b"x", length_bytes=8),
        1002,
    ),
    "a byte over the limit": (server_frame(FIN | BINARY, declared=LIMIT + 1), 1009),
    "over the limit in fragments": (
        server_frame(BINARY, bytes(LIMIT)) + server_frame(CONTINUATION, b"x"),
        1009,
    ),
    "a fragmented ping": (server_frame(PING, b"x"), 1002),
    "a ping of 126 bytes": (server_frame(FIN | PING, bytes(126)), 1002),
    "a continuation of nothing": (server_frame(FIN | CONTINUATION, b"x"), 1002),
    "a message within another": (server_frame(TEXT, b"x") + server_frame(FIN | TEXT, b"y"), 1002),
    "text that is not UTF-8": (server_frame(FIN | TEXT, b"x\xff"), 1007),
    "close code 1005": (close(1005, key=None), 1002),
    "close code 65535": (close(65535, key=None), 1002),
    "half a close code": (server_frame(FIN | CLOSE, b"\x03"), 1002),
    "a close reason that is not UTF-8": (close(1000, b"\xff", key=None), 1007),
    "200,000 empty fragments (CVE-2026-9675, CVE-2026-12151)": (
        server_frame(TEXT) + 200_000 * server_frame(CONTINUATION),
        1009,
    ),
}


@pytest.mark.parametrize(("data", "code"), BROKEN.values(), ids=list(BROKEN))
async def test_broken_frames(siege, data, code) -> None:
    """A frame that breaks the rules."""
    ends = []

    async def script(peer: Raw) -> None:
        await peer.accept()
        await peer.send(data)
        ends.append(await peer.end())

    report = await siege.dial(script)
    siege.expect(code, report["sent"])
    assert report["broken_by"] == "RemoteProtocolError"


async def test_mask_keys(siege) -> None:
    """1,000 echoes whose masking keys might be guessed (CVE-2025-10148, GHSA-w67g-5rqw-f597)."""
    keys = set()

    async def script(peer: Raw) -> None:
        await peer.accept()
        await peer.send(1000 * server_frame(FIN | BINARY, bytes(4)))
        while len(peer.buffer) < 10_000:
            assert await peer.more()
        assert peer.buffer[:2] == b"\x82\x84"
        for at in range(0, 10_000, 10):
            keys.add(bytes(peer.buffer[at + 2 : at + 6]))

    await siege.dial(script)
    assert len(keys) > 995  # of 2^32, two of 1,000 are hardly ever the same
    for byte in range(4):
        assert len({key[byte] for key in keys}) > 200
    siege.outcome = SERVED


# -- not reading, not closing ---------------------------------------------------------------------


async def test_pongs_are_never_read(siege) -> None:
    """20,000 pings whose pongs are never read (CVE-2026-11586, GHSA-9fm3-97px-rjf6)."""

    async def script(peer: Raw) -> None:
        await peer.accept()
        await peer.send(20_000 * server_frame(FIN | PING, bytes(16)))
        await peer.send(close(1000, key=None))
        await trio.sleep_forever()

    report = await siege.dial(script, **HASTY)
    siege.expect(1000, report["received"])


async def test_echo_is_never_read(siege) -> None:
    """A server that never reads what the client answers (GHSA-rh7x-ppxx-p34c)."""
    siege.fills = 4 * LIMIT
    scope = trio.CancelScope()

    async def script(peer: Raw) -> None:
        await peer.accept()
        with scope:
            scope.deadline = trio.current_time() + 0.5
            await peer.stream.send_all(64 * server_frame(FIN | BINARY, bytes(LIMIT)))
        peer.reset()

    await siege.dial(script)
    siege.expect(HELD_BACK, HELD_BACK if scope.cancelled_caught else SERVED)


async def test_half_open(siege) -> None:
    """A server that is there no more."""

    async def script(peer: Raw) -> None:
        await peer.accept()
        await trio.sleep_forever()

    report = await siege.dial(script, **HASTY)
    siege.expect(1011, report["sent"])
    assert report["broken_by"] == "TimeoutError"


async def test_close_is_never_answered(siege) -> None:
    """A client's close frame that is never answered."""

    async def script(peer: Raw) -> None:
        await peer.accept()
        await peer.send(server_frame(FIN | TEXT, b"hello"))
        await trio.sleep_forever()

    report = await siege.dial(script, greet=True, **HASTY)
    siege.expect(1000, report["sent"])
    assert report["received"] is None


async def test_flood_instead_of_a_close_frame(siege) -> None:
    """64 MiB of messages in place of the answer to a client's close frame."""
    siege.fills = 2 * LIMIT  # the inbox, and a message on its way

    async def script(peer: Raw) -> None:
        await peer.accept()
        await peer.send(server_frame(FIN | TEXT, b"hello"))
        await peer.send(64 * server_frame(FIN | BINARY, bytes(LIMIT)))
        await peer.send(close(1000, key=None))

    report = await siege.dial(script, greet=True)
    siege.expect(1000, report["sent"])


async def test_stall_behind_the_close_frames(siege) -> None:
    """A server that closes, and never hangs up, as is its part."""

    async def script(peer: Raw) -> None:
        await peer.accept()
        await peer.send(close(1000, key=None))
        await trio.sleep_forever()

    report = await siege.dial(script, **HASTY)
    siege.expect(1000, report["received"])


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="behind the 101"),
        pytest.param(server_frame(FIN | BINARY, b"x", declared=100), id="in a frame"),
        pytest.param(server_frame(TEXT, b"x"), id="in a message"),
        pytest.param(close(1000, key=None), id="behind a close frame"),
    ],
)
@pytest.mark.parametrize("by", ["end", "reset"])
async def test_end(siege, said, by) -> None:
    """The server goes at any time."""

    async def script(peer: Raw) -> None:
        await peer.accept()
        await peer.send(said)
        if by == "reset":
            peer.reset()
        else:
            await peer.stream.aclose()

    report = await siege.dial(script)
    assert report["opened"] or by == "reset"
    siege.outcome = ENDED


# -- what an application passes on ----------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"X": "y\r\nSet-Cookie: a=b"}},
        {"headers": {"X": "y\nSet-Cookie: a=b"}},
        {"headers": {"X": "y\r\n\r\nGET /"}},
        {"headers": {"X": "y\x00"}},
        {"headers": {"X\r\nY": "z"}},
        {"headers": {"X: y\r\nZ": "z"}},
        {"headers": {"": "z"}},
        {"headers": {"X": "\u010d\u010a"}},
        {"origin": "http://a\r\nX: y"},
        {"origin": "http://a\nX: y"},
        {"subprotocols": ["a\r\nX: y"]},
        {"subprotocols": ["a, b"]},
        {"subprotocols": [""]},
    ],
    ids=str,
)
async def test_line_breaks(siege, options) -> None:
    """CR and LF in what the application passes to connect (CVE-2026-1527)."""
    url = siege.victim.url("echo")
    siege.expect(
        "LocalProtocolError", (await siege.order({"url": url, "options": options}))["error"]
    )


@pytest.mark.parametrize(
    "url",
    [
        "ws://127.0.0.1:1/\r\nX: y", "ws://127.0.0.1:1/?a\r\nb", "ws://127.0.0.1\r\n:1/",
        "ws://127.0.0.1:1/\u010d\u010a", "ws://127.0.0.1:1/a b", "ws://127.0.0.1:1 /",
        "ws://127.0.0.1:1/#x", "ws://127.0.0.1:99999/",
        "http://127.0.0.1:1/", "ws://[::1", "ws://\uff11\uff12\uff17.0.0.1:1/", "ws://127.0.0.1\x00:1/",
        "ws://127.0.0.1:1\\@evil.example/",
    ],
    ids=ascii,
)  # fmt: skip
async def test_urls(siege, url) -> None:
    """CR, LF and worse in a URL (CVE-2026-1527)."""
    report = await siege.order({"url": url, "options": {}})
    siege.expect("LocalProtocolError", report["error"])


async def test_user_information(siege) -> None:
    """A URL's user information, which belongs in no target, Host or error (AsyncHttpClient 2.16.1)."""
    told = []

    async def script(peer: Raw) -> None:
        told.append((await peer.head(), peer.headers["host"].partition(":")[0]))
        await peer.send(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
        await peer.gone()

    report = await siege.dial(script, user="me:secret@")
    assert report["error"] in {
        "LocalProtocolError",
        "HandshakeRefused",
    }  # is it sent, or not at all
    assert "secret" not in json.dumps([report, told, siege.victim.log()])
    siege.outcome = report["error"]
