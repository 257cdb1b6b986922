"""Every program of the documentation runs, and prints what the page says."""

from __future__ import annotations

import ast
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio

import hubws
from tests.backplane.redis_server import RedisServer

from .conftest import Runner, Running
from .pages import BLOCKS, RUNS_ON, WITH_PYTEST, WITH_SERVER, Block, name_of

PROGRAMS = [block for block in BLOCKS if block.language == "python" and not block.reason]
BROKER = "redis://127.0.0.1:6379/0"
"""Where the pages have Redis."""
FOR_OTHERS = 3
"""How many programs may only define what another program runs: an ASGI server, the load tester."""
LIMIT = 20
"""Seconds for a server to listen."""


def marked(mark: str) -> list[Block]:
    return [block for block in PROGRAMS if block.mark == mark]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def with_broker(code: str) -> Iterator[str]:
    """A program whose Redis runs, if it needs one: another one than the page's."""
    if BROKER not in code:
        yield code
        return
    with TemporaryDirectory(prefix="hubws-") as folder:  # the paths of sockets are short
        redis = RedisServer(Path(folder), durable=False)
        redis.start()
        try:
            yield code.replace(BROKER, redis.url)
        finally:
            redis.kill()


@contextmanager
def serving(block: Block, port: int, runner: Runner, folder: Path) -> Iterator[Running]:
    """Run a server at that port, until it listens and while the block does."""
    assert "8080" in block.code, "a server of a page listens on port 8080"
    with with_broker(block.code.replace("8080", str(port))) as code:
        yield from served(code, port, runner, folder)


def served(code: str, port: int, runner: Runner, folder: Path) -> Iterator[Running]:
    running = runner.start(code, folder)
    deadline = time.monotonic() + LIMIT
    try:
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.01)
        yield running
    finally:
        running.interrupt()
        running.wait()


def run(code: str, runner: Runner, folder: Path, output: str | None) -> None:
    with with_broker(code) as complete:
        status, printed, errors = runner.start(complete, folder).wait()
    assert (status, errors) == (0, "")
    if output is not None:
        assert printed == output


def test_few_programs_only_define() -> None:
    """Most do something when they are run; the others are for a program that imports them."""
    only_define = [
        str(block)
        for block in marked("")
        if not any(
            isinstance(one, ast.Expr | ast.With | ast.For) for one in ast.parse(block.code).body
        )
    ]
    assert len(only_define) <= FOR_OTHERS, only_define


@pytest.mark.parametrize("block", marked(""), ids=name_of)
def test_programs_run(block: Block, runner: Runner, tmp_path: Path) -> None:
    run(block.code, runner, tmp_path / "program", block.output)


@pytest.mark.parametrize("block", marked(WITH_SERVER), ids=name_of)
def test_clients_run(block: Block, runner: Runner, tmp_path: Path) -> None:
    assert block.server is not None, "there is no server above it"
    port = free_port()
    with serving(block.server, port, runner, tmp_path / "server"):
        client = block.code.replace("8080", str(port))
        run(client, runner, tmp_path / "client", block.output)


WITH_CLIENTS = {str(block.server) for block in marked(WITH_SERVER)}


@pytest.mark.parametrize(
    "block", [block for block in marked(RUNS_ON) if str(block) not in WITH_CLIENTS], ids=name_of
)
async def test_servers_serve(block: Block, runner: Runner, tmp_path: Path) -> None:
    """Those that no client on their page tries."""
    port = free_port()
    with serving(block, port, runner, tmp_path / "server"), trio.fail_after(LIMIT):
        async with hubws.connect(f"ws://127.0.0.1:{port}/") as connection:
            await connection.send("hello")
            assert await connection.receive()


@pytest.mark.parametrize("block", marked(WITH_PYTEST), ids=name_of)
def test_tests_pass(block: Block, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["hubws.testing.fixtures"]\n')
    (tmp_path / "test_block.py").write_text(block.code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-o", "trio_mode=true", "."],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
