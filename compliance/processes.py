"""Programs that run while a block does, and what stands between the two sides."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from .suite import ROOT, SuiteError

START = 20
"""How long a program may take to listen, in seconds."""

NGINX = """\
daemon off;
pid nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path temporary;
    proxy_temp_path temporary;
    fastcgi_temp_path temporary;
    uwsgi_temp_path temporary;
    scgi_temp_path temporary;
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection upgrade;
    proxy_read_timeout 600s;
"""
NGINX_SERVER = """\
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://127.0.0.1:{behind}; }}
    }}
"""
HAPROXY = """\
defaults
    mode http
    timeout connect 10s
    timeout client 60s
    timeout server 60s
    timeout tunnel 600s
"""
HAPROXY_SERVER = """\
listen on{port}
    bind 127.0.0.1:{port}
    server behind 127.0.0.1:{behind}
"""


@asynccontextmanager
async def running(
    command: Sequence[str | Path], log: Path, **variables: str
) -> AsyncIterator[trio.Process]:
    """Run a program with its output going to a file; it is ended with the block."""
    with log.open("wb") as output:
        process = await trio.lowlevel.open_process(
            command, stdout=output, stderr=subprocess.STDOUT, env=os.environ | variables
        )
    try:
        yield process
    finally:
        with trio.CancelScope(shield=True):
            process.terminate()
            with trio.move_on_after(10):
                await process.wait()
            if process.returncode is None:
                process.kill()
                await process.wait()


async def wait_for(pattern: str, process: trio.Process, log: Path) -> str:
    """Wait until a program has printed something; returns the pattern's first group."""
    with trio.move_on_after(START):
        while process.poll() is None:
            found = re.search(pattern, log.read_text(errors="replace"), re.MULTILINE)
            if found:
                return found[1]
            await trio.sleep(0.02)
    raise SuiteError(f"a program did not start; it said:\n{log.read_text(errors='replace')}")


@asynccontextmanager
async def proxies(through: str, ports: Sequence[int], folder: Path) -> AsyncIterator[list[int]]:
    """Put a proxy in front of some ports of this machine; gives the ports to use instead."""
    program = await _find(through)
    fronts = _free_ports(len(ports))
    pairs = list(zip(fronts, ports, strict=True))
    home = folder / through
    home.mkdir()
    configuration = home / "configuration"
    if through == "nginx":
        servers = [NGINX_SERVER.format(port=port, behind=behind) for port, behind in pairs]
        configuration.write_text(NGINX + "".join(servers) + "}\n")
        command: list[str | Path] = [program, "-p", home, "-c", configuration, "-e", "stderr"]
    else:
        servers = [HAPROXY_SERVER.format(port=port, behind=behind) for port, behind in pairs]
        configuration.write_text(HAPROXY + "".join(servers))
        command = [program, "-db", "-f", configuration]
    log = home / "log"
    async with running(command, log) as process:
        for port in fronts:
            await _wait_until_listening(port, process, log)
        yield fronts


async def _find(program: str) -> str:
    """The path of a proxy, which is installed if that is possible."""
    done = await trio.run_process([str(ROOT / "scripts/need"), program], check=False)
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if done.returncode != 0 or path is None:
        raise SuiteError(f"{program} is not there")
    return path


def _free_ports(count: int) -> list[int]:
    """Ports that nobody uses now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


async def _wait_until_listening(port: int, process: trio.Process, log: Path) -> None:
    with trio.move_on_after(START):
        while process.poll() is None:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                await trio.sleep(0.02)
            else:
                await stream.aclose()
                return
    raise SuiteError(f"a program did not start; it said:\n{log.read_text(errors='replace')}")
