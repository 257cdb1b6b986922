"""What is left after a server and its clients have gone: nothing."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import pytest
import trio
import trio.testing

import hubws
from hubws import Frame


async def settled() -> tuple[int, set[str]]:
    """Living tasks and open descriptors once nothing moves any more."""
    await trio.testing.wait_all_tasks_blocked(0.01)
    gc.collect()
    return trio.lowlevel.current_statistics().tasks_living, {
        path.name for path in Path("/proc/self/fd").iterdir()
    }


async def echo(connection: hubws.Connection) -> None:
    async for message in connection:
        await connection.send(message)


async def whole_life(scope, raw, tls: bool, server_tls, client_tls) -> None:
    """Serve clients that come and go in every way."""
    scheme, context = ("wss", client_tls) if tls else ("ws", None)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(scope, server_tls if tls else None)
        url = f"{scheme}://localhost:{server.port}/"
        async with hubws.connect(url, ssl_context=context) as connection:
            await connection.send("hello")
            assert await connection.receive() == "hello"
            await connection.ping()
        with pytest.raises(hubws.HandshakeRefused):
            async with hubws.connect(url, ssl_context=context, origin="http://evil.example"):
                pass
        with pytest.raises(LookupError):
            async with hubws.connect(url, ssl_context=context):
                raise LookupError
        for upgraded in (False, True):
            client = await raw(server, context, upgraded=upgraded)
            await client.send(b"\x82\xff")
            await trio.aclose_forcefully(client.stream)
        client = await raw(server, context, upgraded=True)
        await client.send(Frame(opcode=3))
        assert (await client.frame()).close_code == 1002
        await trio.aclose_forcefully(client.stream)
        await raw(server, context)  # stays, and says nothing
        await raw(server, context, upgraded=True)  # stays, and is drained
        nursery.cancel_scope.cancel()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("tls", [False, True])
async def test_no_task_and_no_descriptor_is_left(raw, tls, server_tls, client_tls) -> None:
    open_streams = []

    async def connect(server, context=None, **options):
        client = await raw(server, context, **options)
        open_streams.append(client.stream)
        return client

    async def serve(context, task_status) -> None:
        await hubws.serve(
            echo, "127.0.0.1", 0, ssl_context=context, grace=0.05, task_status=task_status
        )

    async def once() -> tuple[int, set[str]]:
        await whole_life(serve, connect, tls, server_tls, client_tls)
        for stream in open_streams:
            await trio.aclose_forcefully(stream)
        return await settled()

    tasks, fds = await once()  # the poller, which stays, and trio's own first-time needs
    for _ in range(3):
        tasks_now, fds_now = await once()
        assert tasks_now == tasks
        assert fds_now == fds
