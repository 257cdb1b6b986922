"""hubws/cli/send_receive.py: files to and from a server, over networks and disks that fail."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

import hubws
from hubws.bench.reasons import in_one_line
from hubws.cli.app import main
from hubws.cli.files import Content, part_of
from hubws.cli.options import ClientOptions, RetryOptions
from hubws.cli.output import Output
from hubws.cli.running import Interrupt, Run
from hubws.cli.send_receive import _receive, _send, url_at
from hubws.cli.transfer import MAX_SIZE, PROTOCOL
from hubws.cli.transfer_server import Shelf
from hubws.errors import HubwsError
from hubws.testing.plan import Fault, Kind, Plan
from tests.cli.command import LIMITED, interrupt, run, start
from tests.cli.conftest import Serve, echo
from tests.cli.terminal import open_terminal
from tests.cli.test_transfer_server import server_of
from tests.faults.proxy import Proxy

DATA = os.urandom(5_000_000)
NO_NAME = "'.a' is no name for a file: no slash, no dot first, 1 to 200 bytes"
CONTENT = Content(len(DATA), hashlib.sha256(DATA).hexdigest())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "folder"
    path.mkdir()
    return path


@pytest.fixture
async def keeper(serve: Serve, folder: Path) -> str:
    """The URL of a transfer server in this process, which keeps files in the folder."""
    shelf = Shelf(folder, MAX_SIZE)
    return await serve(shelf.serve, subprotocols=[PROTOCOL], max_stream_size=sys.maxsize)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def running() -> Run:
    """A command in this process."""
    return Run(Output(is_json=True), Interrupt())


async def received(url: str, file: Path) -> dict[str, Any]:
    """Receive a file; returns the summary."""
    here = running()
    assert await _receive(url, file, RetryOptions(), ClientOptions(), here) == 0
    summary: dict[str, Any] = json.loads(bytes(here.output._waiting[-1][1]))
    return summary


async def failed_send(file: Path, url: str) -> str:
    """What the user is told of a file that can't be sent."""
    with pytest.raises((HubwsError, OSError)) as caught:
        await _send(file, url, RetryOptions(), ClientOptions(), running())
    return in_one_line(caught.value)


async def failed_receive(url: str, file: Path) -> str:
    """What the user is told of a file that can't be received."""
    with pytest.raises((HubwsError, OSError)) as caught:
        await _receive(url, file, RetryOptions(retries=2, max_wait=0), ClientOptions(), running())
    return in_one_line(caught.value)


async def test_there_and_back_again(file: Path, folder: Path, tmp_path: Path):
    async with server_of(folder) as (url, _):
        end = await run("send", str(file), url)
        assert (end.status, end.errors) == (0, [])
        assert re.fullmatch(
            rf"sent file: 5\.0 MB in \d+\.\d s, SHA-256 {CONTENT.sha256}", end.lines[0]
        )
        end = await run("receive", url + "file", str(tmp_path / "back"), "--json")
        assert (end.status, end.errors) == (0, [])
    (summary,) = map(json.loads, end.lines)
    assert summary.pop("seconds") > 0
    assert summary == {
        "event": "summary", "size": len(DATA), "sha256": CONTENT.sha256, "connections": 1,
        "offset": 0,
    }  # fmt: skip
    assert (folder / "file").read_bytes() == (tmp_path / "back").read_bytes() == DATA
    assert names_in(folder) == ["file"]
    assert names_in(tmp_path) == ["back", "file", "folder"]


async def test_an_empty_file_and_a_strange_name(keeper: str, folder: Path, tmp_path: Path):
    file = tmp_path / "sp%20ace ?#ä"
    file.touch()
    assert (await run("send", str(file), keeper)).status == 0
    assert names_in(folder) == [file.name]
    name = "sp%2520ace%20%3F%23%C3%A4"
    assert (await run("receive", keeper + name, str(tmp_path / "back"))).status == 0
    assert (tmp_path / "back").read_bytes() == b""


def faults_at(way: str, *positions: int) -> Iterator[Plan]:
    """A reset at each of these bytes of a connection; then no more."""
    for at in positions:
        yield Plan(**{way: (Fault(at, Kind.RESET),)})
    while True:
        yield Plan()


@pytest.mark.parametrize("way", ["to_server", "to_client"])
async def test_a_lost_connection_is_resumed(
    keeper: str, way: str, file: Path, folder: Path, tmp_path: Path, nursery: trio.Nursery
):
    """A proxy cuts it in the middle, twice."""
    plans = faults_at(way, 2_000_000, 1_500_000)
    if way == "to_server":
        arguments = ["send", str(file)]
        target = folder / "file"
    else:
        (folder / "file").write_bytes(DATA)
        arguments = ["receive"]
        target = tmp_path / "back"
    port = int(keeper.rpartition(":")[2].strip("/"))
    proxy = Proxy(lambda: next(plans), port)
    await nursery.start(proxy.run)
    arguments.append(f"ws://127.0.0.1:{proxy.port}/file")
    if way == "to_client":
        arguments.append(str(target))
    end = await run(*arguments, "--max-wait", "0.05", "--json")
    assert (end.status, end.errors) == (0, [])
    *waits, summary = map(json.loads, end.lines)
    assert [wait["event"] for wait in waits] == ["waiting"] * 2
    assert summary["connections"] == 3
    assert 2_500_000 < summary["offset"] < 3_500_000
    passed = proxy.passed[0 if way == "to_server" else 1]
    assert passed < len(DATA) + 1_500_000  # little went twice: what was in flight
    assert target.read_bytes() == DATA
    assert all(not name.endswith(".part") for name in names_in(target.parent))


async def test_what_one_run_received_the_next_does_not(keeper: str, folder: Path, tmp_path: Path):
    (folder / "file").write_bytes(DATA)
    target = tmp_path / "back"
    target.write_bytes(b"what was there before")
    part_of(target, CONTENT).write_bytes(DATA[:4_000_000])
    assert (await received(keeper + "file", target))["offset"] == 4_000_000
    assert target.read_bytes() == DATA
    assert (await received(keeper + "file", target))["offset"] == len(DATA)


async def announced(connection: hubws.Connection, content: Content = CONTENT) -> int:
    """Be a server that is asked for a file; returns where the client wants it from."""
    assert json.loads(await connection.receive()) == {"receive": True}
    await connection.send(json.dumps({"size": content.size, "sha256": content.sha256}))
    offset = json.loads(await connection.receive())["offset"]
    assert type(offset) is int
    return offset


async def test_control_c_leaves_no_half_file(serve: Serve, tmp_path: Path):
    is_half_way = trio.Event()

    async def send_half(connection: hubws.Connection) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            yield DATA[:3_000_000]
            is_half_way.set()
            await connection.wait_closed()

        await announced(connection)
        with pytest.raises(hubws.ConnectionClosed):
            await connection.send_stream(pieces())

    url = await serve(send_half, subprotocols=[PROTOCOL])
    async with start("receive", url, str(tmp_path / "back")) as program:
        with trio.fail_after(30):
            await is_half_way.wait()
        end = await interrupt(program)
    assert (end.status, end.lines, end.errors) == (130, [], [])
    assert not (tmp_path / "back").exists()


async def test_a_file_that_changes_while_it_is_sent(serve: Serve, file: Path):
    async def meddle(connection: hubws.Connection) -> None:
        await connection.receive()
        file.write_bytes(DATA[:-1])
        await connection.send(json.dumps({"offset": 0}))
        await connection.wait_closed()

    url = await serve(meddle, subprotocols=[PROTOCOL])
    assert await failed_send(file, url) == "file has changed while it was being read"


async def test_what_came_is_not_what_was_announced(serve: Serve, tmp_path: Path):
    async def lie(connection: hubws.Connection) -> None:
        await announced(connection)
        await connection.send_stream([DATA[:-1], b"x"])
        await connection.wait_closed()

    url = await serve(lie, subprotocols=[PROTOCOL])
    assert re.fullmatch(
        r"what came is not what was announced: SHA-256 [0-9a-f]{12}\.\.\., not "
        rf"{CONTENT.sha256[:12]}\.\.\.",
        await failed_receive(url, tmp_path / "back"),
    )
    assert names_in(tmp_path) == []


async def test_the_disk_is_full(keeper: str, folder: Path, tmp_path: Path):
    (folder / "file").write_bytes(DATA)
    target = tmp_path / "back"
    end = await run("receive", keeper + "file", str(target), command=LIMITED)
    assert (end.status, end.lines) == (1, [])
    assert end.errors == [f"hubws: {target}: File too large"]
    assert names_in(tmp_path) == [part_of(target, CONTENT).name, "folder"]
    assert (await received(keeper + "file", target))["offset"] == 300_000  # there is room again
    assert target.read_bytes() == DATA


async def test_the_disk_of_the_server_is_full(file: Path, folder: Path):
    async with server_of(folder, command=LIMITED) as (url, _):
        end = await run("send", str(file), url)
    assert (end.status, end.lines) == (1, [])
    assert end.errors == ["hubws: file: File too large"]
    assert not (folder / "file").exists()


async def test_what_can_not_be_read_or_written(keeper: str, folder: Path, tmp_path: Path):
    none = tmp_path / "none"
    assert await failed_send(none, keeper) == f"{none}: No such file or directory"
    assert await failed_send(folder, keeper) == "folder is not a file"
    assert await failed_receive(keeper + "none", none) == "none: No such file or directory"
    assert await failed_receive(keeper + "a", folder) == "folder is there, and is not a file"
    assert await failed_receive(keeper + ".a", none) == NO_NAME
    (folder / "file").touch()
    told = await failed_receive(keeper + "file", none / "back")
    assert told == f"back: there is no folder {none}"
    # a folder in which nobody may make files, not even root
    told = await failed_receive(keeper + "file", Path("/proc/self/file"))
    assert re.fullmatch(r"/proc/self/\.file\..*\.part: [A-Z][a-z ]+", told)
    assert names_in(tmp_path) == ["folder"]


async def test_a_server_that_is_not_there_or_is_another(serve: Serve, file: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        end = await run("send", str(file), f"ws://127.0.0.1:{port}/")
    assert (end.status, end.errors) == (
        1, [f"hubws: all attempts to connect to 127.0.0.1:{port} failed: Connection refused"],
    )  # fmt: skip
    url = await serve(echo)
    assert await failed_send(file, url) == f"{url} does not speak {PROTOCOL}"


async def test_a_server_that_goes_for_good(serve: Serve, tmp_path: Path):
    async def close(connection: hubws.Connection) -> None:
        await connection.receive()

    url = await serve(close, subprotocols=[PROTOCOL])
    told = await failed_receive(url, tmp_path / "back")
    assert told == "the server closed before the file was whole"

    tries = 0

    async def fail(connection: hubws.Connection) -> None:
        nonlocal tries
        tries += 1
        await connection.receive()
        await connection.aclose(1013, "not now")

    url = await serve(fail, subprotocols=[PROTOCOL])
    told = await failed_receive(url, tmp_path / "back")
    assert "1013 (try again later): not now" in told
    assert tries == 3


async def test_a_progress_bar_at_a_terminal(file: Path, serve: Serve):
    go_on = trio.Event()

    async def take(connection: hubws.Connection) -> None:
        await connection.receive()
        await connection.send(json.dumps({"offset": len(DATA) // 2}))
        async with connection.receive_stream() as message:
            async for _ in message:
                pass
        await go_on.wait()
        await connection.send(json.dumps({"stored": True}))
        await connection.wait_closed()

    url = await serve(take, subprotocols=[PROTOCOL], max_stream_size=10**9)
    async with open_terminal("send", str(file), url) as terminal:
        await terminal.wait_for(r"sending file .*\d+%.*/5\.0 MB")
        go_on.set()
        await terminal.wait_for(r"\x1b\[Ksent file: 5\.0 MB in [\d.]+ s, SHA-256 [0-9a-f]{64}")
        assert await terminal.wait() == 0


def test_urls():
    for url, at in [
        ("ws://host", "ws://host/a%20b"),
        ("ws://host/", "ws://host/a%20b"),
        ("ws://host/?key=1", "ws://host/a%20b?key=1"),
        ("ws://host/c", "ws://host/c"),
    ]:
        assert url_at(url, "a b") == at


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["send", "file", "http://host/"], "must begin with ws:// or wss://"),
        (["send", "file", "ws://host/", "--subprotocol", "chat"], "--subprotocol is not for"),
        (["receive", "ws://host/file"], "FILE"),
        (["receive", "ws://host/file", "file", "--retries", "-1"], "retries must be a whole"),
    ],
)
def test_wrong_arguments(
    arguments: list[str],
    error: str,
    capfd: pytest.CaptureFixture[str],
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(file.parent)
    assert main(arguments) == 2
    told = capfd.readouterr().err
    assert told.count("\n") == 1
    assert error in told
