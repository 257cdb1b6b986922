"""Every configuration of the documentation is accepted by the program that it is for."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import trio

import hubws

from .pages import BLOCKS, ROOT, Block, name_of

DEPLOYMENT = ROOT / "docs/deployment.md"

NGINX = """\
daemon off;
pid nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path temporary;
    proxy_temp_path temporary;
    fastcgi_temp_path temporary;
    uwsgi_temp_path temporary;
    scgi_temp_path temporary;
    {}
}}
"""
"""Where what a page shows stands; at the end, files that a user may write."""


def in_language(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages and not block.reason]


def check(command: list[str | Path], folder: Path) -> None:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path}, check=False, timeout=30,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "[warn]" not in done.stdout
    assert "[WARNING]" not in done.stdout


@pytest.mark.parametrize("block", in_language("nginx"), ids=name_of)
def test_nginx_accepts_it(block: Block, files: Path) -> None:
    shown = block.code.replace("/etc/chat", str(files))
    (files / "nginx.conf").write_text(NGINX.format(shown))
    check(["nginx", "-t", "-p", files, "-c", files / "nginx.conf", "-e", "stderr"], files)


@pytest.mark.parametrize("block", in_language("haproxy"), ids=name_of)
def test_haproxy_accepts_it(block: Block, files: Path) -> None:
    (files / "haproxy.cfg").write_text(block.code.replace("/etc/chat", str(files)))
    check(["haproxy", "-c", "-q", "-f", files / "haproxy.cfg"], files)


def test_systemd_accepts_it(tmp_path: Path) -> None:
    """By its own checker where it is there, and as far as its format goes everywhere."""
    text = DEPLOYMENT.read_text(encoding="utf-8")
    units = {
        name: code.replace("/srv/chat/venv/bin/python", sys.executable)
        for name, code in re.findall(
            r"^`/etc/systemd/system/(.+?)`:\n\n```ini\n(.*?)^```$", text, re.MULTILINE | re.DOTALL
        )
    }
    assert units.keys() == {"chat.socket", "chat.service"}
    assert len(units) == len(in_language("ini"))
    for name, code in units.items():
        (tmp_path / name).write_text(code)
        parser = configparser.ConfigParser(interpolation=None)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read_string(code)
        assert {"Unit", name.partition(".")[2].title(), "Install"} == set(parser.sections())
    if shutil.which("systemd-analyze"):
        check(
            ["systemd-analyze", "verify", "--man=no", *(tmp_path / name for name in units)],
            tmp_path,
        )


async def test_reload_drains_the_inherited_socket(tmp_path: Path) -> None:
    """What the units do to the program: it gets a socket, and SIGHUP closes with 1001 and a hint."""
    block = next(block for block in BLOCKS if block.page == DEPLOYMENT)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        program = tmp_path / "server.py"
        program.write_text(block.code)
        python = sys.executable
        arguments = [python, str(program)]
        become = f"import os; os.dup2({listener.fileno()}, 3); os.execv({python!r}, {arguments})"
        process = await trio.lowlevel.open_process(
            [python, "-c", become],
            env={**os.environ, "LISTEN_FDS": "1"}, pass_fds=[listener.fileno()], cwd=ROOT,
        )  # fmt: skip
        try:
            with trio.fail_after(30):
                async with hubws.connect(f"ws://127.0.0.1:{port}/room") as connection:
                    await connection.send("hello")
                    assert await connection.receive() == "hello"
                    process.send_signal(signal.SIGHUP)
                    await connection.wait_closed()
            assert connection.closure is not None
            assert connection.close_code == 1001
            assert connection.closure.retry_after is not None
            assert 1 <= connection.closure.retry_after <= 21
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


@pytest.mark.parametrize("block", in_language("sysctl"), ids=name_of)
def test_the_kernel_knows_it(block: Block) -> None:
    for line in block.code.splitlines():
        name, _, value = line.partition(" = ")
        assert Path("/proc/sys", *name.split(".")).exists(), f"there is no {name}"
        assert re.fullmatch(r"\d+( \d+)*", value)


def test_data_can_be_read() -> None:
    for block in in_language("toml"):
        assert tomllib.loads(block.code)
    for block in in_language("json"):
        assert [json.loads(line) for line in block.code.splitlines() if line]
