"""Every program of the documentation runs, and prints what the page says."""

from __future__ import annotations

import ast
import re
import runpy
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import hypercorn.config
import hypercorn.trio
import pytest
import trio

import hubws
from tests.backplane.redis_server import RedisServer
from tests.cli.command import run as run_command

from .conftest import Runner, Running
from .pages import BLOCKS, RUNS_ON, WITH_PYTEST, WITH_SERVER, Block, name_of

PROGRAMS = [block for block in BLOCKS if block.language == "python" and not block.reason]
BROKER = "redis://127.0.0.1:6379/0"
"""Where the pages have Redis."""
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


APPS = [block for block in marked("") if re.search(r"^app = ", block.code, re.MULTILINE)]
SCENARIOS = [block for block in marked("") if "async def scenario(user)" in block.code]


def only_defines(block: Block) -> bool:
    """Whether it does nothing when it is run: it is for a program that imports it."""
    does = (ast.Expr, ast.With, ast.For)
    return not any(isinstance(one, does) for one in ast.parse(block.code).body)


def test_what_only_defines_is_put_to_use() -> None:
    unused = [block for block in marked("") if only_defines(block)]
    assert [str(block) for block in unused if block not in [*APPS, *SCENARIOS]] == []
    assert SCENARIOS


def test_what_is_printed_is_shown() -> None:
    ending = [*marked(""), *marked(WITH_SERVER)]
    silent = [str(one) for one in ending if "print(" in one.code and one.output is None]
    assert silent == []


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


@pytest.mark.parametrize("block", [app for app in APPS if only_defines(app)], ids=name_of)
async def test_applications_answer(block: Block, nursery: trio.Nursery, tmp_path: Path) -> None:
    """An application of a framework, on Hypercorn; those of the pages are rooms that echo."""
    (tmp_path / "module.py").write_text(block.code, encoding="utf-8")
    config = hypercorn.config.Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    app = runpy.run_path(str(tmp_path / "module.py"))["app"]
    (url,) = await nursery.start(partial(hypercorn.trio.serve, app, config))
    with trio.fail_after(LIMIT):
        async with hubws.connect(f"{url.replace('http', 'ws')}/rooms/kitchen") as connection:
            await connection.send("hello")
            assert await connection.receive() == "kitchen: hello"
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("block", SCENARIOS, ids=name_of)
async def test_scenarios_can_be_played(block: Block, nursery: trio.Nursery, tmp_path: Path) -> None:
    """By the load tester, to a server that echoes: all that they check is so."""

    def echo(connection: hubws.Connection, message: str | bytes) -> None:
        connection.send_nowait(message)

    file = tmp_path / "scenario.py"
    file.write_text(block.code, encoding="utf-8")
    server = await nursery.start(hubws.serve, hubws.Callbacks(on_message=echo), "127.0.0.1", 0)
    ended = await run_command(
        "bench", f"ws://127.0.0.1:{server.port}/", "--scenario", str(file), "--duration", "300ms",
        "--fail-if", "checks:rate<100%", "--fail-if", "errors:count>0",
    )  # fmt: skip
    assert ended.status == 0
    assert any("echoed" in line for line in ended.lines)
    nursery.cancel_scope.cancel()
