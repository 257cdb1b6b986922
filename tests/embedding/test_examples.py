"""examples/embedding/: from threads, and from asyncio."""

from __future__ import annotations

import signal

import trio

import hubws
from tests.examples.program import run


async def test_from_threads():
    async with run("embedding/threads.py") as program:
        url = await program.wait_for(lambda line: line.startswith("ws://"))
        async with hubws.connect(url, proxy=None) as ada, hubws.connect(url, proxy=None) as mo:
            await ada.ping()
            await mo.ping()  # their handlers have joined them by now, or the next lines wait
            said = 0
            while said != 2:
                count = len(program.lines)
                await program.type("hello")
                line = await program.wait_for(lambda line: line.startswith("said to "), after=count)
                said = int(line.removeprefix("said to "))
            with trio.fail_after(30):
                assert await ada.receive() == await mo.receive() == "hello"
            await program.end_input()
            await ada.wait_closed()
            await mo.wait_closed()
            assert ada.close_code == mo.close_code == 1001
        assert await program.wait() == 0


async def test_from_asyncio():
    async with run("embedding/guest.py") as program:
        url = await program.wait_for(lambda line: line.startswith("ws://"))
        async with hubws.connect(url, proxy=None) as ada:
            with trio.fail_after(30):
                numbers = [int(await ada.receive()) for _ in range(3)]
            assert numbers == [numbers[0], numbers[0] + 1, numbers[0] + 2]
            await ada.send("hello")
            await program.wait_for(lambda line: line.endswith(": hello"))
            await ada.send("stop")
            await ada.wait_closed()
            assert ada.close_code == 1001
        assert await program.wait() == 0
        await program.read_to_end()
        assert program.lines[-1] == "closed"
        assert program.errors == b""


async def test_from_asyncio_interrupted():
    async with run("embedding/guest.py") as program:
        url = await program.wait_for(lambda line: line.startswith("ws://"))
        async with hubws.connect(url, proxy=None) as ada:
            await ada.receive()
            program.process.send_signal(signal.SIGINT)
            with trio.fail_after(30):
                await ada.wait_closed()
            assert ada.close_code == 1001
        await program.wait_for("closed")
