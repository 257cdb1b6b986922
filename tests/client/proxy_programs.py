"""Proxies as others wrote them: Debian's tinyproxy (CONNECT), microsocks and Dante (SOCKS).

`CI=true` makes it an error that one is missing, otherwise the tests that need it are skipped;
`scripts/need proxies` installs them.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

START = 20
"""How long a program may take to listen, in seconds."""

TINYPROXY = """\
Listen 127.0.0.1
Port {port}
Timeout 60
LogLevel Error
BasicAuth ada open-sesame
"""
DANTE = """\
logoutput: stderr
internal: 127.0.0.1 port = {port}
external: 127.0.0.1
clientmethod: none
socksmethod: none
client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
socks pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 protocol: tcp }}
"""


@contextmanager
def tinyproxy(folder: Path) -> Iterator[str]:
    """Host and port of an HTTP proxy for user ada, password open-sesame."""
    port = _free_port()
    (folder / "tinyproxy.conf").write_text(TINYPROXY.format(port=port))
    with _running(folder, port, "tinyproxy", "-d", "-c", str(folder / "tinyproxy.conf")) as address:
        yield address


@contextmanager
def microsocks(folder: Path) -> Iterator[str]:
    """Host and port of a SOCKS5 proxy for user ada, password open-sesame."""
    port = _free_port()
    options = ["-i", "127.0.0.1", "-p", str(port), "-u", "ada", "-P", "open-sesame"]
    with _running(folder, port, "microsocks", *options) as address:
        yield address


@contextmanager
def dante(folder: Path) -> Iterator[str]:
    """Host and port of a proxy for everybody by SOCKS4, SOCKS4a and SOCKS5."""
    port = _free_port()
    (folder / "danted.conf").write_text(DANTE.format(port=port))
    command = ["danted", "-f", str(folder / "danted.conf"), "-p", str(folder / "danted.pid")]
    with _running(folder, port, *command) as address:
        yield address


@contextmanager
def _running(folder: Path, port: int, program: str, *options: str) -> Iterator[str]:
    """Run a program until the block ends, once it listens."""
    path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        if os.environ.get("CI") == "true":
            raise FileNotFoundError(f"{program} is missing: scripts/need proxies")
        pytest.skip(f"{program} is not installed: scripts/need proxies")
    log = folder / f"{program}.log"
    with log.open("wb") as output:
        process = subprocess.Popen([path, *options], stdout=output, stderr=output)
    try:
        end = time.monotonic() + START
        while not _listens(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, f"{program} does not listen on port {port}"
            time.sleep(0.01)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()  # Dante's children end with it
        process.wait(START)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True
