"""`hubws proxy`: clients are passed on to other servers."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

import attrs
import trio
from cyclopts import Parameter
from cyclopts.types import ExistingFile

from ..client.tls import TLS
from ..proxy.backends import Backend
from ..proxy.health import HealthCheck
from ..proxy.routes import Route
from ..proxy.serve import Proxy, serve_proxy
from ..server.server import Server
from .options import ServerOptions
from .running import Run, Status, run
from .serving import attend

EXAMPLES = """
hubws proxy ws://127.0.0.1:8080 --port 8081
hubws proxy ws://10.0.0.7 ws://10.0.0.8 --health-check 5
"""

_NO_OPTIONS = ServerOptions()


def proxy(
    backend: str,
    /,
    *more: str,
    path: str = "/",
    balance: Literal["round_robin", "least_connections", "hash"] = "round_robin",
    health_check: float | None = None,
    backend_ca: ExistingFile | None = None,
    verify_backend: Annotated[bool, Parameter(negative="--no-verify-backend")] = True,
    options: ServerOptions = _NO_OPTIONS,
) -> int:
    """Pass clients on to other servers.

    What of the opening handshake is the servers' own affair, such as subprotocols and compression, is
    left to them.

    Args:
        backend: ws://host:port or wss://host:port of a server.
        more: of others.
        path: what is passed on; one that ends with / stands for all paths that begin with it.
        balance: how a server is chosen; by hash, the same for the same client address.
        health_check: seconds between two checks of a server; by default only clients find out.
        backend_ca: certificates of the authorities to trust instead of the system's, in PEM.
        verify_backend: take only certificates of trusted authorities.

    """
    if options.subprotocol or options.compression or options.max_rate is not None:
        raise ValueError("--subprotocol, --compression and --max-rate are not for a proxy")
    tls = TLS(ca_file=backend_ca, verify=verify_backend)
    backends = [Backend(url, tls=tls) for url in (backend, *more)]
    route = Route(path=path, backends=backends, balance=balance)
    check = None if health_check is None else HealthCheck(interval=health_check)
    return run(partial(_proxy, route, check, options), options)


async def _proxy(
    route: Route, check: HealthCheck | None, options: ServerOptions, run: Run
) -> Status:
    arguments = options.arguments()
    del arguments["subprotocols"]
    if not options.origin:
        arguments["origins"] = "any"  # the backend gets the Origin, and may judge

    async def listen(task_status: trio.TaskStatus[Server]) -> None:
        async with trio.open_nursery() as nursery:
            started: Proxy = await nursery.start(
                partial(serve_proxy, [route], health_check=check, **arguments)
            )
            proxies.append(started)
            task_status.started(started.server)

    proxies: list[Proxy] = []
    server = await attend(listen, options, run)
    backends = proxies[0].statistics().backends
    for backend in backends:
        run.output.note(
            f"{backend.url}: {backend.accepted} connections, {backend.failures} failures"
        )
    run.output.record(
        event="summary",
        clean=server.clean,
        backends=[attrs.asdict(backend, filter=_is_told) for backend in backends],
    )
    return Status.DONE


def _is_told(field: attrs.Attribute[Any], _value: object) -> bool:
    return field.name in ("url", "accepted", "failures")
