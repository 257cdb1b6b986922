"""hubws/cli/files.py: files that are read, and files that get their names once they are whole."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from hubws.cli.files import (
    BLOCK,
    Content,
    Partial,
    Source,
    TransferError,
    is_there,
    open_partial,
    part_of,
)

DATA = os.urandom(2 * BLOCK + 12345)


def content_of(data: bytes) -> Content:
    return Content(len(data), hashlib.sha256(data).hexdigest())


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    return path


class TestSource:
    async def test_its_content_and_its_blocks(self, path: Path):
        seen: list[int] = []
        with Source(path) as source:
            assert await source.content(seen.append) == content_of(DATA)
            assert seen == [BLOCK, 2 * BLOCK, len(DATA)]
            assert await source.read(1000) == DATA[1000 : 1000 + BLOCK]
            assert await source.read(len(DATA) - 1) == DATA[-1:]
            assert await source.read(len(DATA)) == b""

    @pytest.mark.parametrize("change", [b"", b"shorter", DATA + b"longer"])
    async def test_one_that_changes_is_an_error(self, path: Path, change: bytes):
        with Source(path) as source:
            await source.read(0)
            path.write_bytes(change)
            with pytest.raises(TransferError, match="file has changed while it was being read"):
                await source.read(BLOCK)

    def test_what_is_no_file(self, tmp_path: Path):
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "link").symlink_to(tmp_path / "pipe")
        for name in ("pipe", "."):
            with pytest.raises(TransferError, match="is not a file"):
                Source(tmp_path / name)
        with pytest.raises(OSError, match="symbolic links"):
            Source(tmp_path / "link")
        with pytest.raises(TransferError, match="link is not a file"):
            Source(tmp_path / "link", follow=True)


class TestPartial:
    async def test_it_has_its_name_once_it_is_whole(self, tmp_path: Path):
        target, content = tmp_path / "file", content_of(DATA)
        async with open_partial(target, content) as partial:
            assert await partial.resume() == 0
            await partial.write(DATA[:-1])
            assert names_in(tmp_path) == [part_of(target, content).name]
            await partial.write(DATA[-1:])
            await partial.finish()
        assert target.read_bytes() == DATA
        assert names_in(tmp_path) == ["file"]

    async def test_it_is_gone_on_with(self, tmp_path: Path):
        target, content = tmp_path / "file", content_of(DATA)
        async with open_partial(target, content) as partial:
            await partial.resume()
            await partial.write(DATA[: BLOCK + 7])
        async with open_partial(target, content) as partial:
            assert await partial.resume() == BLOCK + 7
            await partial.write(DATA[BLOCK + 7 :])
            await partial.finish()
        assert target.read_bytes() == DATA

    async def test_what_has_been_damaged_meanwhile_is_found(self, tmp_path: Path):
        target, content = tmp_path / "file", content_of(DATA)
        target.write_bytes(b"old")
        async with open_partial(target, content) as partial:
            await partial.resume()
            await partial.write(DATA[:1000])
        part_of(target, content).write_bytes(bytes(1000))
        async with open_partial(target, content) as partial:
            assert await partial.resume() == 1000
            await partial.write(DATA[1000:])
            with pytest.raises(TransferError, match="not what was announced: SHA-256 "):
                await partial.finish()
        assert target.read_bytes() == b"old"
        assert names_in(tmp_path) == ["file"]  # nothing that would be wrong again

    async def test_what_is_longer_than_it_may_be(self, tmp_path: Path):
        target, content = tmp_path / "file", content_of(b"1234")
        part_of(target, content).write_bytes(b"12345")
        async with open_partial(target, content) as partial:
            assert await partial.resume() == 0
            await partial.write(b"123")
            with pytest.raises(TransferError, match="more came than the 4 bytes announced"):
                await partial.write(b"45")
            await partial.write(b"4")
            await partial.finish()
        assert target.read_bytes() == b"1234"

    async def test_only_one_writes_to_it(self, tmp_path: Path):
        target, content = tmp_path / "file", content_of(DATA)
        async with open_partial(target, content):
            with pytest.raises(TransferError, match=r"\.part is being written by another process"):
                Partial(target, content)
        assert names_in(tmp_path) == []

    async def test_nothing_but_files_is_replaced(self, tmp_path: Path):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(TransferError, match="pipe is there, and is not a file"):
            async with open_partial(tmp_path / "pipe", content_of(DATA)):
                pass
        assert names_in(tmp_path) == ["pipe"]

    async def test_a_folder_that_is_not_there_is_named(self, tmp_path: Path):
        with pytest.raises(TransferError, match=f"file: there is no folder {tmp_path}/none"):
            async with open_partial(tmp_path / "none" / "file", content_of(DATA)):
                pass

    async def test_what_is_there_already_is_known_by_its_content(self, path: Path):
        assert await is_there(path, content_of(DATA))
        assert not await is_there(path, content_of(DATA[:-1] + b"x"))
        assert not await is_there(path, content_of(DATA[:-1]))
        assert not await is_there(path.with_name("none"), content_of(b""))
