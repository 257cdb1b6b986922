"""hubws beside wsproto and websockets, on the same streams: what differs must have a reason.

python fuzzing/differential.py [STREAMS] [--seed N]
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from random import Random
from typing import NamedTuple, TypeAlias

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import websockets.extensions.permessage_deflate  # noqa: E402 - below the path to hubws
import websockets.frames  # noqa: E402
import websockets.protocol  # noqa: E402
import wsproto.connection  # noqa: E402
import wsproto.events  # noqa: E402
import wsproto.extensions  # noqa: E402

from fuzzing import traffic  # noqa: E402
from fuzzing.feeding import cut  # noqa: E402
from hubws.protocol.deflate import TAIL, Deflate, DeflateParameters  # noqa: E402
from hubws.protocol.endpoint import Endpoint, Ping, Pong, Violation  # noqa: E402
from hubws.protocol.frames import RSV1, Frame, Opcode, parse_header  # noqa: E402
from hubws.protocol.state import Close  # noqa: E402

LIMIT = 1000


class Failure(NamedTuple):
    """The connection fails with that close code, for what these words say."""

    code: int
    words: str


Event: TypeAlias = str | bytes | Ping | Pong | Close | Failure


class Case(NamedTuple):
    """A stream, how it is cut, and who reads it."""

    is_client: bool
    agreed: DeflateParameters | None
    pieces: list[bytes]


def run_hubws(case: Case) -> Iterator[Event]:
    """What an endpoint of hubws makes of a stream."""
    inflater = None
    if case.agreed is not None:
        _, inflater = Deflate().build(case.agreed, is_client=case.is_client)
    endpoint = Endpoint(
        is_client=case.is_client,
        max_message_size=LIMIT,
        next_mask_key=lambda: bytes(4),
        inflater=inflater,
    )
    for piece in case.pieces:
        for event in endpoint.receive_data(piece, len(piece)):
            if isinstance(event, Violation):
                yield Failure(event.error.code, str(event.error))
            else:
                assert isinstance(event, str | bytes | Ping | Pong | Close)
                yield event


def run_wsproto(case: Case) -> Iterator[Event]:
    """What a connection of wsproto does, its fragments put together."""
    extensions: list[wsproto.extensions.Extension] = []
    if case.agreed is not None:
        deflate = wsproto.extensions.PerMessageDeflate()
        deflate.finalize(str(case.agreed.to_extension(is_offer=False)))
        extensions.append(deflate)
    kind = wsproto.connection.CLIENT if case.is_client else wsproto.connection.SERVER
    connection = wsproto.connection.Connection(kind, extensions)
    message: str | bytes | None = None
    for piece in case.pieces:
        try:
            connection.receive_data(piece)
            for event in connection.events():
                if isinstance(event, wsproto.events.Ping):
                    yield Ping(bytes(event.payload))
                elif isinstance(event, wsproto.events.Pong):
                    yield Pong(bytes(event.payload))
                elif isinstance(event, wsproto.events.Message):
                    message = event.data if message is None else message + event.data
                    if event.message_finished:
                        yield message
                        message = None
                elif isinstance(event, wsproto.events.CloseConnection):
                    if connection.state is wsproto.connection.ConnectionState.OPEN:
                        yield Failure(event.code, event.reason or "")
                    else:
                        yield Close(event.code, event.reason or "")
                    return
        except Exception as error:  # noqa: BLE001 - a crash of the peer is an outcome to explain
            yield Failure(1011, f"{type(error).__name__}: {error}")
            return


def run_websockets(case: Case) -> Iterator[Event]:
    """What the sans-I/O protocol of websockets does, its frames put together."""
    side = websockets.protocol.CLIENT if case.is_client else websockets.protocol.SERVER
    protocol = websockets.protocol.Protocol(side, max_size=LIMIT, logger=QUIET)
    if case.agreed is not None:
        takeover = case.agreed.server_no_context_takeover, case.agreed.client_no_context_takeover
        bits = case.agreed.server_max_window_bits or 15, case.agreed.client_max_window_bits or 15
        remote, local = (0, 1) if case.is_client else (1, 0)
        protocol.extensions = [
            websockets.extensions.permessage_deflate.PerMessageDeflate(
                takeover[remote], takeover[local], bits[remote], bits[local]
            )
        ]
    parts: list[bytes] = []
    is_text = False
    for piece in case.pieces:
        protocol.receive_data(piece)
        for frame in protocol.events_received():
            assert isinstance(frame, websockets.frames.Frame)
            data = bytes(frame.data)
            if frame.opcode is websockets.frames.Opcode.PING:
                yield Ping(data)
            elif frame.opcode is websockets.frames.Opcode.PONG:
                yield Pong(data)
            elif frame.opcode is websockets.frames.Opcode.CLOSE:
                close = websockets.frames.Close.parse(data)
                yield Close(close.code, close.reason)
                return
            else:
                if frame.opcode is not websockets.frames.Opcode.CONT:
                    is_text = frame.opcode is websockets.frames.Opcode.TEXT
                parts.append(data)
                if frame.fin:
                    # what receives from the protocol does this, and fails the connection with 1007
                    try:
                        yield b"".join(parts).decode() if is_text else b"".join(parts)
                    except UnicodeDecodeError as error:
                        yield Failure(1007, str(error))
                        return
                    parts = []
        if protocol.parser_exc is not None:
            code = 1006 if protocol.close_sent is None else protocol.close_sent.code
            yield Failure(code, str(protocol.parser_exc))
            return


QUIET = logging.getLogger("fuzzing.differential")
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False
PEERS: dict[str, Callable[[Case], Iterator[Event]]] = {
    "wsproto": run_wsproto,
    "websockets": run_websockets,
}


# -- what may differ --------------------------------------------------------------------------


class Difference(NamedTuple):
    """The first event that is not the same, None where there is none."""

    case: Case
    peer: str
    ours: Event | None
    theirs: Event | None

    def we_fail(self, code: int, words: str) -> bool:
        """Whether hubws fails with that code, for what these words say."""
        ours = self.ours
        return isinstance(ours, Failure) and ours.code == code and ours.words.startswith(words)

    def they_fail(self, code: int, words: str) -> bool:
        """Whether the peer does."""
        theirs = self.theirs
        return (
            isinstance(theirs, Failure)
            and theirs.code == code
            and bool(re.match(words, theirs.words))
        )

    def they_wait(self) -> bool:
        """Whether the peer has nothing to say yet."""
        return self.theirs is None


class Rule(NamedTuple):
    """A difference that has a reason: `why` says who is right, or that both are."""

    name: str
    peers: tuple[str, ...]
    why: str
    explains: Callable[[Difference], bool]


def frames_of(case: Case) -> Iterator[Frame]:
    """The frames of a stream, read for themselves; what there is of the last, unless in its header."""
    wire = b"".join(case.pieces)
    at = 0
    while (header := parse_header(wire, at, len(wire))) is not None:
        at += header.size
        here = header._replace(length=min(header.length, len(wire) - at))
        frame = Frame.from_header(here, wire, at)
        frame.fin = header.fin and here.length == header.length
        yield frame
        at += header.length
        if at > len(wire):
            return


def stops_in_a_header(case: Case) -> bool:
    """Whether the stream ends within the header of a frame."""
    wire = b"".join(case.pieces)
    while (read := Frame.from_bytes(wire)) is not None:
        wire = wire[read[1] :]
    return parse_header(wire, 0, len(wire)) is None


def has_control_in_compressed(case: Case) -> bool:
    """Whether a control frame comes between the fragments of a compressed message."""
    inside = False
    for frame in frames_of(case):
        if frame.is_control:
            if inside:
                return True
        else:
            inside = not frame.fin and (inside or frame.rsv1)
    return False


def has_final_block(case: Case) -> bool:
    """Whether a compressed message has a block that says it is the last."""
    takeover = case.agreed is not None and not (
        case.agreed.server_no_context_takeover
        if case.is_client
        else case.agreed.client_no_context_takeover
    )
    state, inside = zlib.decompressobj(-15), False
    for frame in frames_of(case):
        if frame.is_control or not (inside or frame.rsv1):
            continue
        inside = not frame.fin
        try:
            state.decompress(frame.payload + (TAIL if frame.fin else b""))
        except zlib.error:
            return False
        if state.eof:
            return True
        if frame.fin and not takeover:
            state = zlib.decompressobj(-15)
    return False


def has_empty_compressed(case: Case) -> bool:
    """Whether a compressed message has no bytes at all."""
    size = inside = 0
    for frame in frames_of(case):
        if frame.is_control or not (inside or frame.rsv1):
            continue
        size += len(frame.payload)
        if frame.fin and not size:
            return True
        inside, size = not frame.fin, 0 if frame.fin else size
    return False


def has_large_compressed(case: Case) -> bool:
    """Whether a frame of a compressed message is larger than a message may be."""
    wire = b"".join(case.pieces)
    at, inside = 0, False
    while (header := parse_header(wire, at, len(wire))) is not None:
        inside = inside or bool(header.first & RSV1)
        if inside and header.length > LIMIT:
            return True
        inside = inside and (header.is_control or not header.fin)
        at += header.size + header.length
    return False


BOTH = ("wsproto", "websockets")
HEADER = (
    "(?i)invalid opcode|reserved bit|control frame|.*masked frame|incorrect masking|"
    "invalid attempt to fragment|8-byte payload length|payload length used|error in extension"
)
RULES = (
    Rule(
        "header-whole",
        BOTH,
        "hubws judges a header once all of it is there, up to 14 bytes; the peers begin with the "
        "first two",
        lambda d: (
            d.ours is None
            and stops_in_a_header(d.case)
            and (d.they_fail(1002, HEADER) or d.they_fail(1009, ""))
        ),
    ),
    Rule(
        "header-first",
        ("websockets",),
        "websockets looks at reserved bits, FIN and the size of control frames when the payload is "
        "there, and at the order of frames; hubws when the header is",
        lambda d: (
            d.they_wait()
            and any(
                d.we_fail(1002, words)
                for words in (
                    "reserved bits",
                    "a control frame",
                    "a continuation frame",
                    "a new message",
                )
            )
        ),
    ),
    Rule(
        "order-first",
        ("wsproto",),
        "wsproto looks at the order of frames when some of the payload is there, and inflated; hubws "
        "when the header is",
        lambda d: (
            (d.they_wait() or d.they_fail(1007, "error in extension"))
            and any(d.we_fail(1002, words) for words in ("a continuation frame", "a new message"))
        ),
    ),
    Rule(
        "non-minimal",
        ("websockets",),
        "websockets accepts lengths that are not in the fewest bytes; RFC 6455 §5.2 forbids them",
        lambda d: d.we_fail(1002, "the length"),
    ),
    Rule(
        "size-first",
        ("websockets",),
        "websockets looks at the size before anything else but opcode and masking; both fail",
        lambda d: d.they_fail(1009, "") and d.we_fail(1002, ""),
    ),
    Rule(
        "text-at-once",
        ("websockets",),
        "websockets judges text when the message is whole, and so sees other things first; hubws "
        "refuses the first byte that is wrong, as RFC 6455 §8.1 allows",
        lambda d: (
            d.we_fail(1007, "a text message is not") and not isinstance(d.theirs, str | bytes)
        ),
    ),
    Rule(
        "surrogate-at-once",
        ("wsproto",),
        "Python's decoder, which wsproto uses, waits for the third byte of a surrogate before it "
        "refuses it; hubws sees it in the second",
        lambda d: (
            d.we_fail(1007, "a text message is not")
            and not isinstance(d.theirs, str | bytes)
            and any(b"\xed" in frame.payload for frame in frames_of(d.case))
        ),
    ),
    Rule(
        "reason-first",
        ("websockets",),
        "of a close frame with a bad code and a bad reason websockets sees the reason first; both fail",
        lambda d: d.we_fail(1002, "close code") and d.they_fail(1007, "'utf-8' codec"),
    ),
    Rule(
        "close-1014",
        ("wsproto",),
        "wsproto does not know close code 1014, bad gateway, which IANA has registered since RFC 6455",
        lambda d: (
            d.they_fail(1002, "CLOSE with unknown reserved code")
            and any(
                frame.opcode == Opcode.CLOSE and frame.payload[:2] == b"\x03\xf6"
                for frame in frames_of(d.case)
            )
        ),
    ),
    Rule(
        "close-in-message",
        ("websockets",),
        "websockets refuses a close frame between fragments, which RFC 6455 §5.4 allows",
        lambda d: isinstance(d.ours, Close) and d.they_fail(1002, "incomplete fragmented message"),
    ),
    Rule(
        "no-limit",
        ("wsproto",),
        "wsproto has no limit on the size of messages, and goes on",
        lambda d: d.we_fail(1009, "the message has"),
    ),
    Rule(
        "deflate-code",
        ("websockets",),
        "websockets fails with 1002 where compressed data is not valid; 1007 says that the data is bad",
        lambda d: (
            d.we_fail(1007, "a compressed message is not valid")
            and d.they_fail(1002, "decompression failed")
        ),
    ),
    Rule(
        "deflate-at-once",
        ("websockets",),
        "websockets inflates whole frames; hubws what it has, and so fails as soon as it is wrong",
        lambda d: d.we_fail(1007, "a compressed message is not valid") and d.they_wait(),
    ),
    Rule(
        "deflate-size",
        ("websockets",),
        "websockets holds the compressed frame to the limit too; hubws lets it be a quarter and 1 KiB "
        "larger, since what doesn't compress grows",
        lambda d: d.they_fail(1009, "") and has_large_compressed(d.case),
    ),
    Rule(
        "deflate-control",
        ("wsproto",),
        "wsproto takes what follows a control frame within a compressed message for uncompressed",
        lambda d: has_control_in_compressed(d.case),
    ),
    Rule(
        "deflate-final",
        BOTH,
        "behind a final block (RFC 7692 §7.2.3.4) hubws begins anew; the peers drop what follows, "
        "in this message and in all later ones",
        lambda d: has_final_block(d.case),
    ),
    Rule(
        "deflate-empty",
        BOTH,
        "a compressed message of no bytes is not valid (an empty one has one byte, RFC 7692 "
        "§7.2.3.6); the peers take it for an empty one, and can't read the next",
        lambda d: has_empty_compressed(d.case),
    ),
)


def same(ours: Event | None, theirs: Event | None) -> bool:
    """Whether two events are the same; of failures, only their code counts."""
    if isinstance(ours, Failure) and isinstance(theirs, Failure):
        return ours.code == theirs.code
    return ours == theirs and type(ours) is type(theirs)


def compare(case: Case) -> Iterator[tuple[Difference, Rule | None]]:
    """The first difference to each peer, and the rule that explains it, if one does."""
    ours = list(run_hubws(case))
    for peer, run in PEERS.items():
        for mine, other in zip_longest(ours, run(case)):
            if not same(mine, other):
                difference = Difference(case, peer, mine, other)
                rules = (rule for rule in RULES if peer in rule.peers and rule.explains(difference))
                yield difference, next(rules, None)
                break


# -- streams ----------------------------------------------------------------------------------


def sent_by_hubws(random: Random, case: Case) -> bytes:
    """What an endpoint of hubws sends to the one that reads, as the application has it."""
    deflater = None
    if case.agreed is not None:
        settings = Deflate(min_size=random.choice([0, 64]), level=random.randint(0, 9))
        deflater, _ = settings.build(case.agreed, is_client=not case.is_client)
    sender = Endpoint(
        is_client=not case.is_client,
        max_message_size=LIMIT,
        next_mask_key=lambda: random.randbytes(4),
        deflater=deflater,
    )
    wire = b""
    for _ in range(random.randint(1, 5)):
        text = random.choice(traffic.TEXTS)
        message: str | bytes = text if random.random() < 0.6 else random.randbytes(len(text))
        chance = random.random()
        if chance < 0.5:
            wire += sender.encode_compressed(message)
        elif chance < 0.6:
            wire += sender.encode(message)
        elif chance < 0.7:
            wire += sender.encode_ping(random.randbytes(5))
        else:
            data = message.encode() if isinstance(message, str) else message
            count = random.randint(1, 3)
            for number in range(count):
                wire += sender.encode_fragment(
                    data[number::count] if message.isascii() else data if not number else b"",
                    first=not number,
                    last=number == count - 1,
                    text=isinstance(message, str),
                )
    return wire + (sender.encode_close(1000, "bye") if random.random() < 0.5 else b"")


def make_case(random: Random) -> tuple[str, Case]:
    """A stream of one of four kinds, cut at random."""
    agreed = None
    if random.random() < 0.5:
        agreed = DeflateParameters(
            server_no_context_takeover=random.random() < 0.5,
            client_no_context_takeover=random.random() < 0.5,
        )
    case = Case(random.random() < 0.5, agreed, [])

    def valid() -> bytes:
        compression = agreed is not None
        return traffic.stream(random, is_client=case.is_client, compression=compression)

    kind = random.choice(["sent", "valid", "mutated", "mutated", "noise"])
    if kind == "sent":
        wire = sent_by_hubws(random, case)
    elif kind == "valid":
        wire = valid()
    elif kind == "mutated":
        wire = traffic.mutate(valid(), valid(), random)
    else:
        wire = random.choice([b"", valid()]) + traffic.noise(random)
    return kind, case._replace(pieces=cut(wire, random))


def main() -> None:
    """Compare as many streams as asked for."""
    parser = argparse.ArgumentParser(description="Compare hubws with wsproto and websockets.")
    parser.add_argument("streams", nargs="?", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    random = Random(options.seed)
    kinds, reasons = Counter[str](), Counter[str]()
    unexplained = 0
    for _ in range(options.streams):
        kind, case = make_case(random)
        kinds[kind] += 1
        for difference, rule in compare(case):
            if rule is not None:
                reasons[f"{difference.peer}: {rule.name}"] += 1
                continue
            unexplained += 1
            print(f"unexplained ({kind}): {b''.join(case.pieces).hex()}\n  {difference}")
    print(*(f"{count:8} streams {kind}" for kind, count in kinds.items()), sep="\n")
    print(*(f"{count:8} {reason}" for reason, count in reasons.most_common()), sep="\n")
    print(f"{unexplained:8} unexplained")
    sys.exit(unexplained > 0)


if __name__ == "__main__":
    main()
