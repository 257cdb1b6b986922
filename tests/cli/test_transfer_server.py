"""hubws/cli/transfer_server.py as a process, and clients that are not as they should be."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

import hubws
from hubws.cli.app import main
from hubws.cli.files import Content
from hubws.cli.transfer import PROTOCOL
from tests.cli.command import COMMAND, LIMITED, interrupt, run, start
from tests.cli.test_servers import url_of
from tests.examples.program import Program

DATA = bytes(range(256)) * 4000
CONTENT = Content(len(DATA), hashlib.sha256(DATA).hexdigest())
ANNOUNCED = json.dumps({"size": CONTENT.size, "sha256": CONTENT.sha256})


@contextlib.asynccontextmanager
async def server_of(
    folder: Path, *arguments: str, command: list[str] = COMMAND
) -> AsyncIterator[tuple[str, Program]]:
    arguments = ("transfer-server", str(folder), "--port", "0", *arguments)
    async with start(*arguments, command=command) as program:
        yield await url_of(program), program


def connect(url: str) -> contextlib.AbstractAsyncContextManager[hubws.Connection]:
    return hubws.connect(url, subprotocols=[PROTOCOL], proxy=None)


async def refusal(connection: hubws.Connection) -> str:
    """Why the server closes the connection."""
    with trio.fail_after(30):
        await connection.wait_closed()
    assert connection.close_code == 4000
    assert connection.close_reason is not None
    return connection.close_reason


async def answer(connection: hubws.Connection) -> dict[str, Any]:
    with trio.fail_after(30):
        said: dict[str, Any] = json.loads(await connection.receive())
        return said


async def test_names_lead_nowhere_else(tmp_path: Path):
    (tmp_path / "secret").write_text("open sesame")
    folder = tmp_path / "files"
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "file").touch()
    (folder / ".hidden").write_text("hidden")
    (folder / "link").symlink_to(tmp_path / "secret")
    async with server_of(folder) as (url, program):
        absolute = f"{tmp_path}/secret".replace("/", "%2F")
        for path in ["", "..", "../secret", "..%2Fsecret", "%2e%2e/secret", "below/file", ".hidden",
                     absolute, "/secret", "x%00", "below/../../secret"]:  # fmt: skip
            for message in (json.dumps({"receive": True}), ANNOUNCED):
                async with connect(url + path) as connection:
                    with contextlib.suppress(hubws.ConnectionClosed):  # it has been refused
                        await connection.send(message)
                    assert "is no name for a file" in await refusal(connection)
        for path, error in [
            ("below", "below is not a file"),
            ("link", "link: Too many levels of symbolic links"),
            ("none", "none: No such file or directory"),
        ]:
            async with connect(url + path) as connection:
                await connection.send(json.dumps({"receive": True}))
                assert await refusal(connection) == error
        async with connect(url + "below") as connection:
            await connection.send(ANNOUNCED)
            assert await refusal(connection) == "below is there, and is not a file"
        end = await interrupt(program)
    assert end.status == 0
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        ".hidden", "below", "file", "files", "link", "secret",
    ]  # fmt: skip
    assert (tmp_path / "secret").read_text() == "open sesame"


async def test_whoever_comes_back_takes_over_from_who_has_gone(tmp_path: Path):
    async with server_of(tmp_path) as (url, _), connect(url + "file") as gone:
        await gone.send(ANNOUNCED)
        assert await answer(gone) == {"offset": 0}

        async def pieces() -> AsyncIterator[bytes]:
            yield DATA[:500_000]
            async with connect(url + "file") as back:
                await back.send(ANNOUNCED)
                offset = (await answer(back))["offset"]
                assert 0 <= offset <= 500_000
                await back.send(DATA[offset:])
                assert await answer(back) == {"stored": True}
            await gone.wait_closed()

        with pytest.raises(hubws.ConnectionClosed):
            await gone.send_stream(pieces())
        assert gone.close_code == 1006
    assert (tmp_path / "file").read_bytes() == DATA


async def test_what_is_not_what_was_announced_is_not_kept(tmp_path: Path):
    async with server_of(tmp_path) as (url, program):
        async with connect(url + "file") as connection:
            await connection.send(ANNOUNCED)
            assert await answer(connection) == {"offset": 0}
            await connection.send(DATA[:-1] + b"x")
            assert "not what was announced: SHA-256" in await refusal(connection)
        end = await interrupt(program)
    assert list(tmp_path.iterdir()) == []
    assert "WARNING client 1: what came is not what was announced" in end.errors[0]


async def test_other_clients_are_told_what_it_speaks(tmp_path: Path):
    async with server_of(tmp_path, "--max-size", "1000") as (url, _):
        async with hubws.connect(url, proxy=None) as connection:
            assert PROTOCOL in await refusal(connection)
        async with connect(url + "file") as connection:
            await connection.send(ANNOUNCED)
            assert await refusal(connection) == (
                "size must be a whole number from 0 to 1000, not 1024000"
            )


async def test_a_full_disk(tmp_path: Path):
    async with server_of(tmp_path, command=LIMITED) as (url, _):
        async with connect(url + "file") as connection:
            await connection.send(ANNOUNCED)
            assert await answer(connection) == {"offset": 0}
            await connection.send(DATA)
            assert await refusal(connection) == "file: File too large"
        assert not (tmp_path / "file").exists()
    async with server_of(tmp_path) as (url, _), connect(url + "file") as connection:  # room again
        await connection.send(ANNOUNCED)
        assert await answer(connection) == {"offset": 300_000}
        await connection.send(DATA[300_000:])
        assert await answer(connection) == {"stored": True}
    assert (tmp_path / "file").read_bytes() == DATA


async def test_a_port_that_is_taken(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        end = await run("transfer-server", str(tmp_path), "--port", str(port))
    assert (end.status, end.lines) == (1, [])
    assert end.errors == [f"hubws: can't listen at 127.0.0.1:{port}: Address already in use"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["none"], "none is not a folder"),
        ([".", "--max-size", "-1"], "--max-size must be 0 bytes or more"),
        ([".", "--subprotocol", "chat"], "--subprotocol is not for transfers"),
    ],
)
def test_wrong_arguments(arguments: list[str], error: str, capfd: pytest.CaptureFixture[str]):
    assert main(["transfer-server", *arguments]) == 2
    assert error in capfd.readouterr().err
