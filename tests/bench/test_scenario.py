"""hubws/bench/scenario.py: Python files that say what a user does."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

import hubws
from hubws.bench.scenario import Script, at_path
from tests.bench.conftest import ECHO, Serve, load
from tests.examples.program import EXAMPLES, run_server

HELLO = """
    MINIMUM_ITERATION = 0.1

    async def scenario(user):
        async with user.connect(f"/room-{user.number}") as session:
            await session.send("hello")
            user.check("echoed", await session.receive() == "hello")
            user.check("never", False)
            user.measure("custom", 0.25)
"""


@pytest.fixture
def script(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "scenario.py"
        path.write_text(textwrap.dedent(text))
        return path

    return write


async def test_users_do_it_again_and_again(serve: Serve, script):
    paths = []
    callbacks = hubws.Callbacks(
        on_message=ECHO.on_message, on_open=lambda connection: paths.append(connection.path)
    )
    result = await load(
        await serve(callbacks), connections=2, seconds=0.5, scenario=script(HELLO), patience=10.0
    )
    counts, checks = result.total.counts, result.total.checks
    iterations = counts["iterations"]
    assert 2 <= iterations <= 10
    assert (
        counts["ws_sessions"] == counts["ws_msgs_sent"] == counts["ws_msgs_received"] == iterations
    )
    assert checks == {name: [iterations, 0] for name in ("connected", "echoed")} | {
        "never": [0, iterations]
    }
    assert result.total.trends["custom"].maximum == pytest.approx(0.25, rel=0.001)
    assert len(result.total.trends["iteration_duration"]) == iterations
    assert set(paths) == {"/room-0", "/room-1"}
    assert counts["data_sent"] > 0


async def test_what_goes_wrong_is_told(serve: Serve, script):
    text = """
        import trio

        async def scenario(user):
            async with user.connect() as session, trio.open_nursery() as nursery:
                raise KeyError("oh")
    """
    result = await load(await serve(ECHO), connections=1, seconds=0.05, scenario=script(text))
    assert set(result.total.errors) == {"KeyError: 'oh'"}
    assert result.total.counts["ws_sessions"] > 0


async def test_nobody_there(script):
    result = await load("ws://127.0.0.1:1/", seconds=0.05, scenario=script(HELLO))
    assert result.total.checks["connected"][0] == 0
    assert set(result.total.errors) == {
        "all attempts to connect to 127.0.0.1:1 failed: Connection refused"
    }


async def test_who_does_not_come_to_an_end_is_interrupted(serve: Serve, script):
    text = """
        import trio

        async def scenario(user):
            async with user.connect():
                await trio.sleep_forever()
    """
    result = await load(await serve(ECHO), seconds=0.1, patience=0.1, scenario=script(text))
    assert result.total.counts["iterations_interrupted"] == 3
    assert result.total.counts["ws_sessions"] == 3


async def test_what_goes_wrong_while_being_interrupted_ends_no_other(serve: Serve, script):
    text = """
        import trio

        async def scenario(user):
            async with user.connect(), trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                try:
                    await trio.sleep_forever()
                finally:
                    raise KeyError("oh")
    """
    result = await load(await serve(ECHO), seconds=0.1, patience=0.1, scenario=script(text))
    assert result.total.errors == {"KeyError: 'oh'": 3}
    assert result.total.counts["iterations_interrupted"] == 3


async def test_the_chat_scenario_with_the_chat_example(script):
    """The one of the examples, but for its times."""
    text = (EXAMPLES / "scenarios" / "chat.py").read_text()
    for slow, quick in [("STAYS = 10 ", "STAYS = 0.5 "), ("uniform(1, 3)", "uniform(0.1, 0.2)")]:
        assert slow in text
        text = text.replace(slow, quick)
    async with run_server("broadcast/server.py") as (_, place):
        result = await load(
            f"ws://{place}/", connections=12, seconds=0.3, scenario=script(text), patience=20.0
        )
    checks = result.total.checks
    assert not result.total.errors
    assert {name: failed for name, (_, failed) in checks.items()} == {
        "connected": 0, "is a chat message": 0, "heard itself": 0,
    }  # fmt: skip
    assert checks["connected"][0] == checks["heard itself"][0] == 12
    counts = result.total.counts
    assert counts["ws_msgs_received"] > counts["ws_msgs_sent"] > 12 * 4


@pytest.mark.parametrize("text", ["", "scenario = 1", "def scenario(user): pass"])
def test_no_scenario(script, text: str):
    with pytest.raises(ValueError, match="has no `async def scenario"):
        Script.load(script(text))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("1 / 0", r"scenario\.py fails: ZeroDivisionError: division by zero"),
        ("def (", r"scenario\.py fails: SyntaxError: invalid syntax \(scenario\.py, line 1\)"),
    ],
)
def test_a_file_with_a_mistake(script, text: str, error: str):
    with pytest.raises(ValueError, match=error):
        Script.load(script(text))


@pytest.mark.parametrize(
    ("url", "path", "result"),
    [
        ("ws://a:1/x?y", "", "ws://a:1/x?y"),
        ("ws://a:1/x?y", "/room 1", "ws://a:1/room 1"),
        ("wss://a/x/", "b?c=d", "wss://a/x/b?c=d"),
    ],
)
def test_another_path(url: str, path: str, result: str):
    assert at_path(url, path) == result
