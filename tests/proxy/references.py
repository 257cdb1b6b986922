"""nginx and haproxy in front of the same backend as hubws, for tests that ask all three the same.

They are given listening sockets, so that nobody has to wait for them to start.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

NEED = Path(__file__).parents[2] / "scripts/need"

NGINX = """\
daemon off;
worker_processes 1;
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
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection upgrade;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Host $http_host;
    server {{
        listen 127.0.0.1:{front};
        location /echo {{ proxy_pass http://127.0.0.1:{backend}; }}
        location /slow {{ proxy_pass http://127.0.0.1:{backend}; proxy_read_timeout 200ms; }}
        location / {{ return 404; }}
    }}
}}
"""

HAPROXY = """\
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout tunnel 60s
    retries 0
frontend front
    bind fd@{fd}
    option forwardfor
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-request return status 404 unless {{ path_beg /slow /echo }}
    use_backend slow if {{ path_beg /slow }}
    default_backend echo
backend echo
    server one 127.0.0.1:{backend}
backend slow
    timeout server 200ms
    server one 127.0.0.1:{backend}
"""


@attrs.frozen
class Reference:
    """A proxy at work."""

    port: int
    """Where it listens."""
    backend_port: int
    """Where it expects its backend."""
    slow_port: int | None = None
    """Where it listens with a short time limit, if that is not a matter of the path."""


@contextmanager
def running(program: str, folder: Path) -> Iterator[Reference]:
    """Run nginx or haproxy in front of a port of this machine that a test may listen at."""
    done = subprocess.run([NEED, program], capture_output=True, text=True, check=False)
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert path is not None, done.stderr
    with (
        socket.create_server(("127.0.0.1", 0)) as front,
        socket.create_server(("127.0.0.1", 0)) as behind,
        (folder / "log").open("wb") as log,
    ):
        ports = {"front": front.getsockname()[1], "backend": behind.getsockname()[1]}
        behind.close()
        template = NGINX if program == "nginx" else HAPROXY
        configuration = folder / "configuration"
        configuration.write_text(template.format(fd=front.fileno(), **ports))
        process = subprocess.Popen(
            [path, "-p", folder, "-c", configuration, "-e", "stderr"]
            if program == "nginx"
            else [path, "-db", "-f", configuration],
            env=os.environ | {"NGINX": f"{front.fileno()};"},
            pass_fds=[front.fileno()],
            stderr=log,
        )
    try:
        yield Reference(ports["front"], ports["backend"])
    finally:
        process.terminate()
        process.wait()
