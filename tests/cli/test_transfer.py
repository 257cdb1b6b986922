"""hubws/cli/transfer.py: what two sides say to each other, and what they don't believe."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

import hubws
from hubws.cli.files import Content, Source, TransferError, part_of
from hubws.cli.transfer import MAX_NAME, Report, check_name, content_of, hear, offer, store
from hubws.testing import open_pair

DATA = bytes(range(256)) * 4000
CONTENT = Content(len(DATA), hashlib.sha256(DATA).hexdigest())
ANNOUNCED = {"size": CONTENT.size, "sha256": CONTENT.sha256}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "here"
    path.write_bytes(DATA)
    return path


async def test_a_file_from_one_side_to_the_other(file: Path, tmp_path: Path):
    target = tmp_path / "there"
    part_of(target, CONTENT).write_bytes(DATA[:1000])
    sent: list[int] = []
    stored: list[int] = []
    async with open_pair(max_stream_size=10**9) as (near, far), trio.open_nursery() as nursery:

        async def take() -> None:
            content = content_of(await hear(far))
            assert await store(far, target, content, stored.append) == Report(CONTENT, 1000)

        nursery.start_soon(take)
        with Source(file) as source:
            report = await offer(near, source, CONTENT, sent.append)
    assert report == Report(CONTENT, 1000)
    assert target.read_bytes() == DATA
    for progress in (sent, stored):
        assert progress[0] == 1000
        assert progress[-1] == len(DATA)
        assert progress == sorted(progress)


async def test_what_is_there_already_is_not_sent_again(file: Path):
    async with open_pair() as (near, far), trio.open_nursery() as nursery:
        nursery.start_soon(store, far, file, CONTENT, lambda _: None)
        before = near.statistics().bytes_sent
        with Source(file) as source:
            report = await offer(near, source, CONTENT, lambda _: None)
        assert report.offset == len(DATA)
        assert near.statistics().bytes_sent - before < 200


Side = Callable[[hubws.Connection, Path], Awaitable[Any]]


async def sender(connection: hubws.Connection, file: Path) -> None:
    with Source(file) as source:
        await offer(connection, source, CONTENT, lambda _: None)


async def keeper(connection: hubws.Connection, file: Path) -> None:
    content = content_of(await hear(connection), 2 * len(DATA))
    await store(connection, file.with_name("there"), content, lambda _: None)


@pytest.mark.parametrize(
    ("side", "messages", "error"),
    [
        (sender, ["hello"], "a JSON object should come here, not 'hello'"),
        (sender, [b"{}"], "a JSON object should come here, not b'{}'"),
        (sender, ["[" * 10000], "a JSON object should come here"),
        (sender, ["7"], "a JSON object should come here, not '7'"),
        (sender, ['{"offset": -1}'], "offset must be a whole number from 0 to 1024000, not -1"),
        (sender, ['{"offset": true}'], "not True"),
        (sender, ['{"offset": 1024001}'], "not 1024001"),
        (sender, ['{"offset": 0}', '{"stored": 1}'], "did not say that it has stored the file"),
        (keeper, ['{"size": 1}'], "sha256 must be 64 hexadecimal digits, not None"),
        (keeper, [json.dumps(ANNOUNCED | {"sha256": "/" * 64})], "must be 64 hexadecimal"),
        (keeper, [json.dumps(ANNOUNCED | {"size": 1.5})], "size must be a whole number"),
        (keeper, [json.dumps(ANNOUNCED | {"size": 10**7})], "from 0 to 2048000, not 10000000"),
        (keeper, [json.dumps(ANNOUNCED), "text"], "as a binary message, not as text"),
        (keeper, [json.dumps(ANNOUNCED), DATA + b"x"], "more came than the 1024000 bytes"),
        (keeper, [json.dumps(ANNOUNCED), DATA[:-1]], "not what was announced: SHA-256 "),
        (keeper, [json.dumps(ANNOUNCED), DATA[:-1] + b"x"], "not what was announced: SHA-256 "),
    ],
)
async def test_what_makes_no_sense(side: Side, messages: list[str | bytes], error: str, file: Path):
    async with open_pair(max_message_size=2**21, outbox_bytes=2**22) as (near, far):
        for message in messages:
            await far.send(message)
        with pytest.raises(TransferError) as caught:
            await side(near, file)
    assert error in str(caught.value)
    assert [path.name for path in file.parent.iterdir()] == ["here"]  # nothing half is left


def test_names():
    for name in ("a", "disk.img", "ä ö", "x" * MAX_NAME, "a..b", "\\", "C:"):
        check_name(name)
    for name in ("", ".", "..", "../a", "/etc/passwd", "a/b", "a/../b", ".part", "a\0", "a\n"):
        with pytest.raises(TransferError, match="is no name for a file"):
            check_name(name)
    with pytest.raises(TransferError, match="is no name for a file"):
        check_name("ä" * (MAX_NAME // 2) + "x")
