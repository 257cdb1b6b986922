"""Servers and clients in memory."""

from __future__ import annotations

import pytest
import trio
import trio.testing

import hubws
from hubws.testing import Fault, Kind, MemoryListener, Plan, open_pair, open_server


async def echo(connection: hubws.Connection) -> None:
    async for message in connection:
        await connection.send(message)


class TestServer:
    async def test_real_handshake(self) -> None:
        async with open_server(echo, subprotocols=["chat"], compression=True) as server:
            async with server.connect(
                "/lobby?name=Ada", subprotocols=["chat"], compression=True
            ) as client:
                assert (client.subprotocol, client.remote) == ("chat", None)
                assert client.compression is not None
                await client.send("hello")
                assert await client.receive() == "hello"
            with pytest.raises(hubws.HandshakeRefused, match="403"):
                async with server.connect(origin="http://elsewhere.invalid"):
                    pass

    async def test_several_clients_and_a_hub(self) -> None:
        async with hubws.open_hub() as hub:

            async def chat(connection: hubws.Connection) -> None:
                async with hub.member(connection, connection.path):
                    async for message in connection:
                        hub.broadcast(message, topic=connection.path)

            async with (
                open_server(chat) as server,
                server.connect("/lobby") as ada,
                server.connect("/lobby") as mo,
            ):
                await trio.testing.wait_all_tasks_blocked()
                await ada.send("hello")
                assert [await one.receive() for one in (ada, mo)] == ["hello", "hello"]

    async def test_callbacks(self) -> None:
        callbacks = hubws.Callbacks(on_message=hubws.Connection.send_nowait)
        async with open_server(callbacks) as server, server.connect() as client:
            await client.send(b"hello")
            assert await client.receive() == b"hello"

    async def test_time_costs_none(self, autojump_clock) -> None:
        """Keepalive over an hour, and a peer that goes silent in it."""
        async with open_server(echo) as server, server.connect() as client:
            await trio.sleep(3600)
            assert client.rtt.samples > 100
            assert client.state is hubws.State.OPEN

    @pytest.mark.parametrize(
        ("policy", "says"),
        [("disconnect", "slow consumer"), ("block", "the peer took nothing for 5 s")],
    )
    async def test_a_client_that_takes_nothing(self, policy, says, autojump_clock) -> None:
        """What it does not take waits at the server, as on any network."""
        ends: list[hubws.Closure | None] = []

        async def push(connection: hubws.Connection) -> None:
            await connection.ping()
            try:
                for _ in range(100):
                    await connection.send(b"x" * 100_000)
            finally:
                ends.append(connection.closure)

        plan = Plan(to_client=(Fault(1000, Kind.STALL),))
        async with open_server(push, policy=policy, write_timeout=5) as server:
            async with server.connect(plan=plan) as client:
                await client.wait_closed()
            (closure,) = ends
            assert closure is not None
            assert closure.undelivered > 0
            assert says in str(closure)

    async def test_closes_in_order(self) -> None:
        async with open_server(echo) as server:
            client_scope = server.connect()
            client = await client_scope.__aenter__()
        assert client.close_code == 1001
        await client_scope.__aexit__(None, None, None)

    async def test_nobody_listens_any_more(self) -> None:
        async with open_server(echo) as server:
            pass
        with pytest.raises(ConnectionRefusedError, match="nobody listens"):
            async with server.connect():
                pass

    @pytest.mark.parametrize("error", [KeyError("mine"), SystemExit("mine")])
    async def test_errors_come_as_they_are(self, error: BaseException) -> None:
        with pytest.raises(type(error), match="mine"):
            async with open_server(echo) as server, server.connect():
                raise error
        with trio.move_on_after(0) as scope:
            async with open_server(echo) as server, server.connect():
                await trio.sleep_forever()
        assert scope.cancelled_caught

    async def test_options_are_checked(self) -> None:
        with pytest.raises(TypeError, match="nonsense"):
            async with open_server(echo, nonsense=1):
                pass


class TestListener:
    async def test_waits_to_be_accepted(self) -> None:
        listener = MemoryListener()
        near = listener.dial()
        far = await listener.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(near.send_all, b"x")
            assert await far.receive_some() == b"x"
        await listener.aclose()

    async def test_is_bounded(self) -> None:
        listener = MemoryListener()
        streams = [listener.dial() for _ in range(100)]
        with pytest.raises(trio.WouldBlock):
            listener.dial()
        assert len(streams) == 100
        await listener.aclose()


class TestFaults:
    async def test_reset_in_the_middle(self) -> None:
        plan = Plan(to_client=(Fault(1000, Kind.RESET),))
        async with open_server(echo) as server, server.connect(plan=plan) as client:
            await client.send("x" * 2000)
            with pytest.raises(hubws.ConnectionClosed, match="reset by plan"):
                await client.receive()

    async def test_a_silent_link_is_noticed(self, autojump_clock) -> None:
        plan = Plan(to_server=(Fault(1000, Kind.STALL),))
        async with (
            open_server(echo, keepalive_interval=None) as server,
            server.connect(plan=plan, keepalive_interval=20, keepalive_timeout=10) as client,
        ):
            start = trio.current_time()
            client.send_nowait("x" * 1000)
            await client.wait_closed()
            assert trio.current_time() - start < 35
            assert client.close_code == 1006


class TestPair:
    async def test_each_is_the_others_peer(self) -> None:
        async with open_pair(max_message_size=10, server={"headers": {"X-By": "hubws"}}) as pair:
            client, server = pair
            assert (client.is_client, server.is_client) == (True, False)
            assert client.response.headers["X-By"] == "hubws"
            await client.send("hello")
            await server.send(b"back")
            assert (await server.receive(), await client.receive()) == ("hello", b"back")
            await client.send("longer than that")
            with pytest.raises(hubws.ConnectionClosed, match="1009"):
                await server.receive()
        assert client.close_code == 1009

    async def test_both_are_closed_after_it(self) -> None:
        async with open_pair() as (client, server):
            pass
        assert client.closure.clean
        assert server.closure.clean

    async def test_errors_come_as_they_are(self) -> None:
        with pytest.raises(KeyError, match="mine"):
            async with open_pair():
                raise KeyError("mine")


async def test_fixtures(hubws_pair, hubws_server) -> None:
    client, server = hubws_pair
    await client.send("hello")
    assert await server.receive() == "hello"
    one, other = await hubws_server(echo), await hubws_server(echo)
    async with one.connect() as first, other.connect() as second:
        for connection in (first, second):
            await connection.send("hello")
            assert await connection.receive() == "hello"
