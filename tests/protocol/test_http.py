"""Reading and writing the heads of HTTP messages, with their limits."""

from __future__ import annotations

import itertools
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubws.errors import HandshakeError, LocalProtocolError, ProxyError, UpgradeRefused
from hubws.protocol.http import (
    MAX_BODY,
    MAX_HEAD,
    MAX_HEADERS,
    Headers,
    Request,
    RequestReader,
    Response,
    ResponseReader,
    TunnelReader,
    is_token,
    phrase,
)

GET = b"GET /chat?room=1 HTTP/1.1\r\nHost: example.org\r\nX-One: 1\r\nX-Two:  2 \r\n\r\n"
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
)
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
CONTROL = [chr(code) for code in [*range(9), *range(10, 32), 127]]


def by_byte(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def read_request(*pieces: bytes) -> tuple[Request | None, bytes]:
    """The request and what came behind it, as one reader has them."""
    reader = RequestReader()
    for number, piece in enumerate(pieces):
        request = reader.receive_data(piece)
        if request is not None:
            assert list(request.headers) == reader.lines
            return request, reader.rest + b"".join(pieces[number + 1 :])
    return None, b""


def read_response(*pieces: bytes) -> tuple[Response | None, bytes]:
    reader = ResponseReader()
    for number, piece in enumerate(pieces):
        response = reader.receive_data(piece)
        if response is not None:
            return response, reader.rest + b"".join(pieces[number + 1 :])
    return None, b""


def refusal(*pieces: bytes) -> tuple[int, str]:
    with pytest.raises(UpgradeRefused) as caught:
        read_request(*pieces)
    response = caught.value.response
    assert str(caught.value) == f"{response.status}: {response.text}"
    return response.status, response.text


class TestHeaders:
    """RFC 9110 §5."""

    LINES: ClassVar[list[tuple[str, str]]] = [
        ("Host", "a"),
        ("X-List", "1, 2"),
        ("x-list", ",3 ,, \t4\t"),
        ("Empty", ""),
    ]

    def test_look_up(self) -> None:
        headers = Headers(self.LINES)
        assert headers["host"] == headers.get("HOST") == "a"
        assert headers.get_all("X-LIST") == ["1, 2", ",3 ,, \t4\t"]
        assert headers["x-list"] == "1, 2, ,3 ,, \t4\t"
        assert headers.tokens("X-List") == ["1", "2", "3", "4"]
        assert headers.tokens("Empty") == headers.tokens("Absent") == []
        assert headers.get("Absent") is None
        assert headers.get("Absent", "default") == "default"
        with pytest.raises(KeyError, match="Absent"):
            headers["Absent"]

    def test_membership(self) -> None:
        headers = Headers(self.LINES)
        assert "HOST" in headers
        assert "Empty" in headers
        assert "Absent" not in headers
        assert 5 not in headers

    def test_order_and_case_are_kept(self) -> None:
        headers = Headers(iter(self.LINES))
        assert list(headers) == self.LINES
        assert len(headers) == 4
        assert headers == Headers(self.LINES) != Headers(self.LINES[::-1])
        assert headers != self.LINES
        assert hash(headers) == hash(Headers(self.LINES))
        assert repr(Headers({"A": "b"})) == "Headers([('A', 'b')])"

    def test_to_bytes(self) -> None:
        assert Headers({"A-b": "c d", "E": "ä\t"}).to_bytes() == b"A-b: c d\r\nE: \xe4\t\r\n"
        assert Headers().to_bytes() == b""

    @pytest.mark.parametrize("char", [*CONTROL, "€", "\ud800"])
    def test_values_that_would_break_the_head(self, char: str) -> None:
        with pytest.raises(LocalProtocolError, match="of header X has characters that no header"):
            Headers({"X": f"a{char}b"}).to_bytes()

    @pytest.mark.parametrize("name", ["", " ", "a b", "a:", "a\r\nb", "a\n", "\0", "ä", "(", "a/b"])
    def test_names_that_are_no_tokens(self, name: str) -> None:
        assert not is_token(name)
        with pytest.raises(LocalProtocolError, match="is not a header name"):
            Headers({name: "x"}).to_bytes()

    @given(
        st.dictionaries(st.text("Xx-:ä\n", max_size=3), st.text("a \tä\r€", max_size=5), max_size=3)
    )
    def test_what_is_written_is_read_back_or_refused(self, lines: dict[str, str]) -> None:
        try:
            data = Headers(lines).to_bytes()
        except LocalProtocolError:
            return
        request, rest = read_request(b"GET / HTTP/1.1\r\n" + data + b"\r\n")
        assert request is not None
        assert [(name, value.strip(" \t")) for name, value in lines.items()] == list(
            request.headers
        )
        assert rest == b""


class TestRequest:
    def test_fields(self) -> None:
        request, rest = read_request(GET)
        assert request is not None
        assert (request.method, request.target, request.version) == ("GET", "/chat?room=1", "1.1")
        assert (request.path, request.query) == ("/chat", "room=1")
        assert list(request.headers) == [("Host", "example.org"), ("X-One", "1"), ("X-Two", "2")]
        assert request.head == GET
        assert repr(request) == "<Request GET /chat?room=1>"
        assert rest == b""

    def test_path_is_decoded(self) -> None:
        request, _ = read_request(b"GET /%C3%A9%3F?%C3%A9 HTTP/1.1\r\n\r\n")
        assert request is not None
        assert (request.path, request.query) == ("/é?", "%C3%A9")

    @pytest.mark.parametrize("data", [GET, UPGRADE])
    def test_byte_by_byte(self, data: bytes) -> None:
        request, rest = read_request(*by_byte(data), b"rest")
        assert request is not None
        assert request.head == data
        assert rest == b"rest"

    @pytest.mark.parametrize("data", [GET, UPGRADE])
    def test_every_truncation(self, data: bytes) -> None:
        for end in range(len(data)):
            assert read_request(data[:end]) == (None, b"")

    @pytest.mark.parametrize("data", [GET, UPGRADE])
    @pytest.mark.parametrize(
        "behind", [b"\x81\x85", GET, UPGRADE, b"\r\n\r\n", b"\0" * 100_000], ids=range(5)
    )
    def test_what_comes_behind_is_no_part_of_it(self, data: bytes, behind: bytes) -> None:
        alone, _ = read_request(data)
        request, rest = read_request(data + behind)
        assert request is not None
        assert alone is not None
        assert (request.target, request.head) == (alone.target, alone.head)
        assert request.headers == alone.headers
        assert rest == behind

    def test_a_body_is_no_part_of_it(self) -> None:
        head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        for body in (b"3\r\nabc\r\n0\r\n\r\n", b"not a chunk"):
            request, rest = read_request(head + body)
            assert request is not None
            assert (request.head, rest) == (head, body)

    def test_empty_lines_before_it(self) -> None:
        """RFC 9112 §2.2."""
        for pieces in ([b"\r\n\r\n" + GET], by_byte(b"\r\n\r\n" + GET)):
            request, _ = read_request(*pieces)
            assert request is not None
            assert request.head == GET

    @pytest.mark.parametrize(
        "data",
        [
            b"\x16\x03\x01\x02\x00\x01",
            b"hello\r\n\r\n",
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
            b"GET / HTTP/1.1\r\nspace : x\r\n\r\n",
            b"GET / HTTP/1.1\r\nX: a\r\n folded\r\n\r\n",
            b"GET / HTTP/1.1\r\nX: a\0b\r\n\r\n",
            b"GET / HTTP/1.1\r\nX: a\n\r\n",
            b"GET / HTTP/1.1\nHost: x\n\n",
            b"GET / HTTP/1.1\r\n: x\r\n\r\n",
            b"GET / HTTP/9.9.9\r\n\r\n",
            b"GET /\xe9 HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: 1, 2\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        ],
    )
    def test_not_http(self, data: bytes) -> None:
        for pieces in ([data], by_byte(data)):
            status, text = refusal(*pieces)
            assert status == 400
            assert text.startswith("not an HTTP request: ")

    @pytest.mark.parametrize(
        "data",
        [b"GET /\r\n\r\n", b"GET /\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
        ids=["0.9", "0.9 with LF", "2"],
    )
    def test_another_version(self, data: bytes) -> None:
        """HTTP/0.9, whose head is a line, and HTTP/2, with which llhttp has done at its preface."""
        for pieces in ([data], by_byte(data)):
            assert refusal(*pieces) == (400, "not an HTTP/1 request")


class TestRequestLimits:
    def test_largest_head(self) -> None:
        assert RequestReader().rest == b""
        lines = b"GET / HTTP/1.1\r\nX: %b\r\n\r\n"
        head = lines % (b"x" * (MAX_HEAD - len(lines) + 2))
        assert len(head) == MAX_HEAD
        for pieces in ([head + b"rest"], [head[:1000], head[1000:], b"rest"]):
            request, rest = read_request(*pieces)
            assert request is not None
            assert (len(request.head), rest) == (MAX_HEAD, b"rest")

    @pytest.mark.parametrize("size", [1, 1000, 1_000_000])
    @pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\nX"])
    def test_endless_head(self, start: bytes, size: int) -> None:
        pieces = itertools.chain([start], itertools.repeat(b"x" * size, MAX_HEAD // size + 1))
        assert refusal(*pieces) == (431, "the head has over 32768 bytes")

    def test_endless_header_lines(self) -> None:
        """CVE-2024-37890, CVE-2026-54465."""
        pieces = [b"GET / HTTP/1.1\r\n", *[b"A: b\r\n"] * 10_000]
        assert refusal(*pieces) == (431, "over 128 header lines")
        assert refusal(b"".join(pieces)) == (431, "over 128 header lines")

    def test_most_header_lines(self) -> None:
        request, _ = read_request(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * MAX_HEADERS + b"\r\n")
        assert request is not None
        assert len(request.headers) == MAX_HEADERS
        data = b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * (MAX_HEADERS + 1) + b"\r\n"
        assert refusal(data) == (431, "over 128 header lines")

    @given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=4))
    def test_any_bytes_in_any_pieces(self, junk: bytes, cuts: list[int]) -> None:
        data = b"GET / HTTP/1.1\r\nX: " + junk + b"\r\n\r\nrest"
        bounds = itertools.pairwise([0, *sorted(cuts), len(data)])
        pieces = [data[a:b] for a, b in bounds]
        try:
            request, rest = read_request(data)
        except UpgradeRefused:
            assert refusal(data) == refusal(*pieces)
        else:
            assert request is not None
            split, split_rest = read_request(*pieces)
            assert split is not None
            assert (split.head, split_rest) == (request.head, rest)


class TestWritingResponses:
    def test_refusal(self) -> None:
        response = Response.refusal(426, "older", {"Sec-WebSocket-Version": "13"})
        assert response.to_bytes() == (
            b"HTTP/1.1 426 Upgrade Required\r\n"
            b"Content-Type: text/plain; charset=utf-8\r\n"
            b"Sec-WebSocket-Version: 13\r\n"
            b"Content-Length: 6\r\n"
            b"Connection: close\r\n\r\n"
            b"older\n"
        )
        assert response.text == "older"

    def test_text_and_bytes(self) -> None:
        assert Response(200, "é").body == b"\xc3\xa9"
        assert Response(200, b"\xff").text == "�"
        assert Response(200, headers={"A": "b"}).headers == Headers({"A": "b"})

    def test_without_a_body(self) -> None:
        expected = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\n"
        assert Response(200, "abc").to_bytes(with_body=False) == expected

    def test_what_the_connection_is_about(self) -> None:
        """Upgrade stays in Connection (RFC 9110 §7.8); other options and the length are its own."""
        headers = [("CONNECTION", "Upgrade, keep-alive"), ("content-length", "9"), ("Upgrade", "x")]
        assert Response(426, "é", headers).to_bytes() == (
            b"HTTP/1.1 426 Upgrade Required\r\n"
            b"Upgrade: x\r\n"
            b"Content-Length: 2\r\n"
            b"Connection: Upgrade, close\r\n\r\n\xc3\xa9"
        )

    def test_unknown_status(self) -> None:
        assert phrase(599) == ""
        assert Response(599).to_bytes().startswith(b"HTTP/1.1 599 \r\n")

    def test_injection(self) -> None:
        with pytest.raises(LocalProtocolError, match="has characters that no header may have"):
            Response(200, headers={"X": "a\r\nSet-Cookie: b"}).to_bytes()


class TestReadingResponses:
    def test_switching_protocols(self) -> None:
        for pieces in ([SWITCHING + b"\x81\x00"], [*by_byte(SWITCHING), b"\x81\x00"]):
            response, rest = read_response(*pieces)
            assert response is not None
            assert response.status == 101
            assert list(response.headers) == [("Connection", "Upgrade"), ("Upgrade", "websocket")]
            assert rest == b"\x81\x00"

    def test_every_truncation(self) -> None:
        for end in range(len(SWITCHING)):
            reader = ResponseReader()
            assert reader.receive_data(SWITCHING[:end]) is None
            with pytest.raises(HandshakeError, match="closed the connection before it answered"):
                reader.receive_eof()

    @pytest.mark.parametrize("line", [b"", b"Upgrade: websocket\r\n", b"Content-Length: 9\r\n"])
    def test_switching_to_nothing(self, line: bytes) -> None:
        response, _ = read_response(b"HTTP/1.1 101 x\r\n" + line + b"\r\n\x81\x00")
        assert response is not None
        assert (response.status, response.body) == (101, b"")

    @pytest.mark.parametrize(
        "head",
        [
            b"Content-Length: 3\r\n\r\nabc",
            b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ],
    )
    def test_refusal_with_a_body(self, head: bytes) -> None:
        data = b"HTTP/1.1 404 Not Found\r\n" + head
        another = b"HTTP/1.1 200 x\r\nX: y\r\nContent-Length: 1\r\n\r\nx"
        for pieces in ([data], by_byte(data), [data + another], [data + SWITCHING]):
            response, _ = read_response(*pieces)
            assert response is not None
            assert (response.status, response.body, len(response.headers)) == (404, b"abc", 1)

    def test_trailers_are_no_headers(self) -> None:
        head = b"HTTP/1.1 404 x\r\nTransfer-Encoding: chunked\r\n\r\n"
        response, _ = read_response(head + b"1\r\na\r\n0\r\nUpgrade: websocket\r\n\r\n")
        assert response is not None
        assert list(response.headers) == [("Transfer-Encoding", "chunked")]

    def test_a_body_that_breaks_off(self) -> None:
        head = b"HTTP/1.1 404 x\r\nTransfer-Encoding: chunked\r\n\r\n"
        response, _ = read_response(head + b"3\r\nabc\r\nnot a chunk")
        assert response is not None
        assert (response.status, response.body) == (404, b"abc")

    def test_the_stream_ends_after_a_refusal(self) -> None:
        for head in (b"\r\nabc", b"Content-Length: 10\r\n\r\nabc"):
            reader = ResponseReader()
            assert reader.receive_data(b"HTTP/1.1 500 x\r\n" + head) is None
            response = reader.receive_eof()
            assert (response.status, response.body) == (500, b"abc")

    def test_bodies_are_bounded(self) -> None:
        assert MAX_BODY == 4096
        reader = ResponseReader()
        assert reader.receive_data(b"HTTP/1.1 500 x\r\n\r\n" + b"x" * (MAX_BODY - 1)) is None
        response = reader.receive_data(b"y" * 1_000_000)
        assert response is not None
        assert response.body == b"x" * (MAX_BODY - 1) + b"y"

    @pytest.mark.parametrize("status", [b"100 Continue", b"103 Early Hints", b"199 x"])
    def test_interim_responses(self, status: bytes) -> None:
        """RFC 9110 §15.2: a client must be able to read them, expected or not."""
        data = b"HTTP/1.1 " + status + b"\r\nLink: x\r\n\r\n" + SWITCHING
        for pieces in ([data + b"rest"], [*by_byte(data), b"rest"]):
            response, rest = read_response(*pieces)
            assert response is not None
            assert response.status == 101
            assert "Link" not in response.headers
            assert rest == b"rest"

    def test_endless_interim_responses(self) -> None:
        with pytest.raises(HandshakeError, match="has over 32768 bytes"):
            read_response(*[b"HTTP/1.1 100 Continue\r\n\r\n"] * 10_000)

    def test_bytes_over_127(self) -> None:
        """CVE-2026-55517."""
        data = b"HTTP/1.1 403 \xfc\r\nX: \x80\xe9\xff\r\nContent-Length: 0\r\n\r\n"
        response, _ = read_response(data)
        assert response is not None
        assert response.headers["X"] == "\x80\xe9\xff"

    @pytest.mark.parametrize(
        "data",
        [
            b"SSH-2.0-OpenSSH_9\r\n",
            b"<html>",
            b"\x81\x05Hello",
            b"HTTP/1.1 101\nUpgrade: x\n\n",
            b"HTTP/1.1 101 x\r\n\xff: x\r\n\r\n",
            b"HTTP/1.1 101 x\r\nX: a\0\r\n\r\n",
        ],
    )
    def test_not_http(self, data: bytes) -> None:
        for pieces in ([data], by_byte(data)):
            with pytest.raises(HandshakeError, match="the server's answer is not HTTP"):
                read_response(*pieces)

    @pytest.mark.parametrize("piece", [b"x" * 1000, b"X: y\r\n" * 100])
    def test_endless_head(self, piece: bytes) -> None:
        with pytest.raises(HandshakeError, match="the head of the server's answer has over 32768"):
            read_response(b"HTTP/1.1 101 x\r\nX: ", *[piece] * 1000)

    def test_largest_head(self) -> None:
        lines = b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX: %b\r\n\r\n"
        head = lines % (b"x" * (MAX_HEAD - len(lines) + 2))
        assert len(head) == MAX_HEAD
        for pieces in ([head + b"rest"], [head[:9], head[9:] + b"rest"], [head, b"rest"]):
            response, rest = read_response(*pieces)
            assert response is not None
            assert (response.status, len(response.headers), rest) == (101, 3, b"rest")
        reader = ResponseReader()
        assert reader.rest == b""
        assert reader.receive_data(head[:-4] + b"xxxx") is None
        with pytest.raises(HandshakeError, match="the head of the server's answer has over 32768"):
            reader.receive_data(b"x")
        longer = head.replace(b"X: ", b"X: x")
        for pieces in ([longer], [longer[:9], longer[9:]], [longer[:MAX_HEAD], longer[MAX_HEAD:]]):
            with pytest.raises(HandshakeError, match="the head of the server's answer has over 32"):
                read_response(*pieces)

    @pytest.mark.parametrize("size", [MAX_BODY - 1, MAX_BODY, MAX_BODY + 1])
    def test_body_beyond_the_largest_head(self, size: int) -> None:
        """What is behind the head does not count, also when both come in one read."""
        start = b"HTTP/1.1 500 x\r\nContent-Length: %d\r\nX: " % size
        head = start + b"x" * (MAX_HEAD - len(start) - 4 - 10) + b"\r\n\r\n"
        response, _ = read_response(head + b"y" * size + b"rest")
        assert response is not None
        assert (response.status, response.body) == (500, b"y" * min(size, MAX_BODY))

    def test_most_headers(self) -> None:
        response, _ = read_response(b"HTTP/1.1 101 x\r\n" + b"A: b\r\n" * MAX_HEADERS + b"\r\n")
        assert response is not None
        assert len(response.headers) == MAX_HEADERS

    def test_too_many_headers(self) -> None:
        data = b"HTTP/1.1 200 x\r\n" + b"A: b\r\n" * (MAX_HEADERS + 1) + b"\r\n"
        with pytest.raises(HandshakeError, match="answer has over 128 header lines"):
            read_response(data)


class TestTunnelReader:
    """RFC 9110 §9.3.6: the answer to CONNECT."""

    @pytest.mark.parametrize(
        "head",
        [
            b"HTTP/1.1 200 Connection established\r\n\r\n",
            b"HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\n",
            b"HTTP/1.1 204 Fine\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nX: y\r\n\r\nHTTP/1.1 299 x\r\n\r\n",
        ],
    )
    @pytest.mark.parametrize("rest", [b"", b"\r\n\r\n", b"HTTP/1.1 101 x\r\n\r\n", b"\x16\x03\x01"])
    def test_tunnel(self, head: bytes, rest: bytes) -> None:
        """In any two pieces, and byte by byte."""
        data = head + rest
        cuts = [[cut] for cut in range(len(data))] + [list(range(len(data)))]
        for cut in cuts:
            reader = TunnelReader()
            response, behind = None, b""
            for start, end in itertools.pairwise([0, *(n for n in cut if n), len(data)]):
                if response is None:
                    response = reader.receive_data(data[start:end])
                    behind = reader.rest
                else:
                    behind += data[start:end]
            assert response is not None
            assert 200 <= response.status < 300
            assert response.body == b""
            assert behind == rest

    @pytest.mark.parametrize(
        ("data", "status", "body"),
        [
            (b"HTTP/1.1 407 x\r\nContent-Length: 3\r\n\r\nwho", 407, b"who"),
            (b"HTTP/1.1 502 x\r\nContent-Length: 0\r\n\r\n", 502, b""),
            (
                b"HTTP/1.1 403 x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
                403,
                b"no",
            ),
            (b"HTTP/1.1 101 x\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", 101, b""),
        ],
    )
    def test_refusal(self, data: bytes, status: int, body: bytes) -> None:
        for cut in range(1, len(data)):
            reader = TunnelReader()
            response = reader.receive_data(data[:cut]) or reader.receive_data(data[cut:])
            assert response is not None
            assert (response.status, response.body) == (status, body)

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (b"HTTP/1.1 200 x\r\nX: " + MAX_HEAD * b"x", "has over 32768 bytes"),
            (b"HTTP/1.1 200 x\r\n" + 129 * b"X: y\r\n" + b"\r\n", "has over 128 header lines"),
            (MAX_HEAD * b"\r\n\r\n", "has over 32768 bytes"),
            (2000 * b"HTTP/1.1 100 Continue\r\n\r\n", "has over 32768 bytes"),
            (b"SSH-2.0-x\r\n\r\n", "the proxy's answer is not HTTP"),
            (b"HTTP/1.1 200 x\n\n", "the proxy's answer is not HTTP"),
        ],
    )
    def test_no_answer(self, data: bytes, words: str) -> None:
        for size in (1000, len(data)):
            pieces = [data[start : start + size] for start in range(0, len(data), size)]
            with pytest.raises(ProxyError, match=words):
                list(map(TunnelReader().receive_data, pieces))

    def test_end(self) -> None:
        reader = TunnelReader("the proxy http://a:1")
        assert reader.receive_data(b"HTTP/1.1 200 ") is None
        with pytest.raises(ProxyError, match="http://a:1 closed the connection before it answered"):
            reader.receive_eof()
