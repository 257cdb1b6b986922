"""`hubws echo-server`, `push-server` and `broadcast-server`."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import trio
from cyclopts import Parameter

from ..connection.connection import Connection
from ..hub.backplane import Backplane
from ..hub.open import open_hub
from .options import ServerOptions
from .running import Status
from .workers import Serve, run_server

ECHO_EXAMPLES = """
hubws echo-server  # at ws://127.0.0.1:8008/, until Ctrl-C
hubws echo-server --host "" --port 443 --certificate chain.pem --key key.pem
hubws echo-server --workers 4  # processes; SIGHUP restarts them one by one
"""

PUSH_EXAMPLES = """
hubws push-server --send-msg yo  # as fast as each client reads
hubws push-server --rate 100  # 100 messages a second to each
"""

BROADCAST_EXAMPLES = """
hubws broadcast-server
hubws broadcast-server --policy drop_oldest  # slow clients miss messages
hubws broadcast-server --workers 2 --redis redis://127.0.0.1:6379/0
"""

CATCH_UP = 0.01
"""Seconds' worth of messages that is made up for; of what a slow reader was spared, no more."""

_NO_OPTIONS = ServerOptions()


def echo_server(*, workers: int = 1, options: ServerOptions = _NO_OPTIONS) -> int:
    """Serve clients who get back what they send.

    Args:
        workers: processes that serve, behind one port.

    """

    async def echo(serve: Serve) -> Status:
        return await serve(_echo)

    return run_server(echo, options, workers)


async def _echo(connection: Connection) -> None:
    async for message in connection:
        await connection.send(message)


def push_server(
    *,
    send_msg: str = "hello",
    binary: Annotated[bool, Parameter(negative=())] = False,
    rate: float | None = None,
    workers: int = 1,
    options: ServerOptions = _NO_OPTIONS,
) -> int:
    """Serve clients who get the same message again and again.

    Args:
        send_msg: the message.
        binary: send it as binary.
        rate: messages a second to each client; by default as fast as it reads.
        workers: processes that serve, behind one port.

    """
    if rate is not None and not 0 < rate < float("inf"):
        raise ValueError(f"--rate must be over 0 messages a second, not {rate:g}")
    message = send_msg.encode() if binary else send_msg

    async def push(serve: Serve) -> Status:
        return await serve(partial(_push, message, rate))

    return run_server(push, options, workers)


async def _push(message: str | bytes, rate: float | None, connection: Connection) -> None:
    if rate is None:
        while True:
            await connection.send(message)
    due = trio.current_time()
    while True:
        await trio.sleep_until(due)
        await connection.send(message)
        due = max(due + 1 / rate, trio.current_time() - CATCH_UP)


def broadcast_server(
    *,
    policy: Literal["disconnect", "drop_oldest", "drop_newest", "latest"] = "disconnect",
    workers: int = 1,
    redis: str | None = None,
    options: ServerOptions = _NO_OPTIONS,
) -> int:
    """Serve clients who get what the others send.

    Args:
        policy: what happens to a client who reads too slowly.
        workers: processes that serve, behind one port; more than one needs --redis.
        redis: the URL of a Redis or Valkey server, by which they reach each other's clients.

    """
    if workers > 1 and redis is None:
        raise ValueError("--workers needs --redis, or their clients would not hear each other")
    return run_server(partial(_broadcast, policy, redis), options, workers)


async def _broadcast(policy: str, redis: str | None, serve: Serve) -> Status:
    backplane: Backplane | None = None
    if redis is not None:
        from ..backplane.redis import RedisBackplane  # noqa: PLC0415 - an extra of its own

        backplane = RedisBackplane(redis)
    async with open_hub(policy=policy, backplane=backplane) as hub:

        async def relay(connection: Connection) -> None:
            async with hub.member(connection):
                async for message in connection:
                    hub.broadcast(message, exclude=connection)

        return await serve(relay)
