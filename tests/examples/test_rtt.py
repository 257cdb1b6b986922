"""The round-trip time example, as processes."""

from __future__ import annotations

import json
import re
import signal

import trio

import hubws

from .program import run, run_server

SERVER = "rtt/server.py"


async def test_the_server_prints_the_round_trip_times_of_its_clients() -> None:
    async with run_server(SERVER, "--interval", "0.05") as (server, host):
        async with hubws.connect(f"ws://{host}/"):
            joined = await server.wait_for(re.compile(r"client \d+ joined").fullmatch)
            client = joined.removesuffix(" joined")
            pongs = re.compile(rf"{client}: \d+\.\d{{3}} ms")
            first = await server.wait_for(pongs.fullmatch)
            await server.wait_for(pongs.fullmatch, after=server.lines.index(first) + 1)
        left = await server.wait_for(lambda line: line.startswith(f"{client} left: "))
        assert "the peer closed with 1000 (normal)" in left


async def test_the_page_shows_them() -> None:
    async with run_server(SERVER, "--interval", "0.05") as (server, host):
        await server.wait_for(f"http://{host}/ shows what is measured")
        async with (
            hubws.connect(f"ws://{host}/"),
            hubws.connect(f"ws://{host}/feed", origin=f"http://{host}") as viewer,
        ):
            with trio.fail_after(30):
                while not (news := json.loads(await viewer.receive())).get("point"):
                    pass
        assert news["total"]["connections"] == 1


async def test_a_pong_that_answers_no_ping_is_no_measurement() -> None:
    async with run_server(SERVER, "--interval", "3600") as (server, host):
        await server.wait_for(f"ws://{host}/")
        async with hubws.connect(f"ws://{host}/") as connection:
            connection.pong(b"12345678")
            await connection.ping()
        await server.wait_for(lambda line: " left: " in line)
        assert [line for line in server.lines if line.endswith(" ms")] == []


async def test_the_client_measures_and_sums_up() -> None:
    async with (
        run_server(SERVER) as (_, host),
        run("rtt/client.py", f"ws://{host}/", "--interval", "0.01") as client,
    ):
        measured = re.compile(r"\d+\.\d{3} ms")
        first = await client.wait_for(measured.fullmatch)
        await client.wait_for(measured.fullmatch, after=client.lines.index(first) + 1)
        client.process.send_signal(signal.SIGINT)
        assert await client.wait() == 0
        await client.wait_for(
            re.compile(r"\d+ pings, minimum \d+\.\d{3} ms, mean \d+\.\d{3} ms").fullmatch
        )
        assert client.errors == b""


async def test_the_client_ends_when_the_server_does() -> None:
    async with (
        run_server(SERVER) as (server, host),
        run("rtt/client.py", f"ws://{host}/", "--interval", "0.05") as client,
    ):
        await client.wait_for(lambda line: line.endswith(" ms"))
        server.process.send_signal(signal.SIGTERM)
        assert await server.wait() == 0
        assert server.errors == b""
        assert await client.wait() == 1
        await client.read_to_end()
        assert "1001 (going away)" in client.errors.decode()
