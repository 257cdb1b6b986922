"""What a page has people type beside one of its servers is typed at terminals, which show the same."""

from __future__ import annotations

import re
import shlex
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal, open_terminal

from .conftest import Runner
from .pages import BLOCKS, WITH_SERVER, Block, name_of
from .test_programs import free_port, serving

SESSIONS = [block for block in BLOCKS if block.language == "console" and block.mark == WITH_SERVER]
END_OF_INPUT = "\x04"
"""Ctrl-D."""


@pytest.mark.parametrize("block", SESSIONS, ids=name_of)
async def test_sessions_go_as_shown(block: Block, runner: Runner, tmp_path: Path) -> None:
    """Each command of a block has a terminal of its own; what is typed goes to the last."""
    assert block.server is not None, "there is no server above it"
    port = free_port()
    lines = block.code.replace("8080", str(port)).splitlines()
    with serving(block.server, port, runner, tmp_path / "server"):
        async with AsyncExitStack() as stack:
            terminals: list[Terminal] = []
            for line in lines:
                match line[:2]:
                    case "$ ":
                        program, *arguments = shlex.split(line[2:])
                        assert program == "hubws"
                        terminals.append(await stack.enter_async_context(open_terminal(*arguments)))
                        await terminals[-1].wait_for("connected")
                    case "> ":
                        await terminals[-1].type(f"{line[2:]}\r")
                    case _:
                        for terminal in terminals:
                            await terminal.wait_for(re.escape(line))
            for terminal in terminals:
                await terminal.type(END_OF_INPUT)
                assert await terminal.wait() == 0


def test_the_tutorial_has_some() -> None:
    assert {block.page.name for block in SESSIONS} >= {"tutorial.md"}
    assert any("\n< " in block.code for block in SESSIONS)
