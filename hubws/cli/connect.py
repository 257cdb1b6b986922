"""`hubws connect`: talk to a WebSocket server, at a prompt or in a pipe."""

from __future__ import annotations

import os
from functools import partial
from typing import Annotated

import attrs
import trio
from cyclopts import Parameter

from ..client.backoff import Backoff
from ..errors import HubwsError
from .conversation import Conversation
from .dialect import Dialect
from .lines import STDIN, InputLines, Prompt
from .options import ClientOptions, RetryOptions
from .output import Output, printable
from .running import Run, Status, run

EXAMPLES = """
hubws connect ws://127.0.0.1:8008/  # talk to it; /help says how
echo hello | hubws connect ws://127.0.0.1:8008/
hubws connect wss://example.org/ --header "Authorization: Bearer abc" --json
"""

_NO_OPTIONS = ClientOptions()
_NO_RETRYING = RetryOptions()


def connect(
    url: str,
    /,
    *,
    binary: Annotated[bool, Parameter(negative=())] = False,
    linger: float = 1.0,
    retrying: RetryOptions = _NO_RETRYING,
    options: ClientOptions = _NO_OPTIONS,
) -> int:
    """Talk to a WebSocket server.

    At a terminal there is a prompt, with the keys and the history of a shell. In a pipe each line of
    the input is a message, and each message a line of the output. What happens beside that (headers,
    close codes, totals) is told on standard error. A connection that was lost is made anew.

    Args:
        url: ws://... or wss://...
        binary: send lines as binary messages.
        linger: at the end of piped input, go on until nothing has come for so many seconds.

    """
    if not linger >= 0:
        raise ValueError(f"--linger must be 0 seconds or more, not {linger:g}")
    source = Source(Dialect(is_binary=binary), linger)
    return run(partial(converse, url, source, retrying.backoff(), options), options)


@attrs.define
class Source:
    """What becomes of lines; see `connect`."""

    dialect: Dialect
    linger: float
    unsent: int = 0
    """The number of the line that waits to be sent."""

    def message(self, line: bytes) -> str | bytes:
        """What a line of the input is sent as; ValueError when it can't be."""
        try:
            return self.dialect.message(line)
        except ValueError as error:
            raise ValueError(f"line {self.unsent} {error}") from None


async def converse(
    url: str, source: Source, backoff: Backoff, options: ClientOptions, run: Run
) -> Status:
    """Connect, and send and show until the user or the server ends it."""
    output = run.output
    is_interactive = os.isatty(STDIN) and output.can_prompt and not output.is_json
    conversation = Conversation(
        url, backoff, options, output, source.dialect, is_interactive=is_interactive
    )
    follow = _follow_prompt if is_interactive else _follow_input
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        with run.interrupt.here() as scope:
            nursery.start_soon(conversation.run, scope)
            try:
                await follow(conversation, source, output)
            except ValueError as error:
                failure = error
        await conversation.finish()
        nursery.cancel_scope.cancel()
    conversation.sum_up()
    failure = conversation.failure or failure
    if failure is None and source.unsent:
        failure = HubwsError(f"line {source.unsent} of the input was not sent")
    if failure is None:
        return Status.DONE
    if is_interactive and conversation.was_open:  # the user was there when it happened
        return Status.FAILED
    raise failure


async def _follow_input(conversation: Conversation, source: Source, _output: Output) -> None:
    """Send each line of the input; then wait until the server has nothing more to say."""
    number = 0
    async for line in InputLines():
        number += 1
        source.unsent = number
        await conversation.send_sometime(source.message(line))
        source.unsent = 0
    await conversation.wait_quiet(source.linger)


async def _follow_prompt(conversation: Conversation, source: Source, output: Output) -> None:
    """Do what the user says, until there is no more of it."""
    prompt = Prompt(output)
    with prompt.shown():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(prompt.watch)
            async for line in prompt:
                if line == "/quit":
                    break
                try:
                    if line == "/help":
                        output.say(source.dialect.help.rstrip())
                    elif line:
                        await _follow(conversation, source, line)
                except (ValueError, HubwsError, trio.WouldBlock) as error:
                    output.say(printable(str(error)), style="red")
                await output.flush()
            nursery.cancel_scope.cancel()


async def _follow(conversation: Conversation, source: Source, line: str) -> None:
    command, _, rest = line.partition(" ")
    if not line.startswith("/") or line.startswith("//"):
        text = line.removeprefix("/") if line.startswith("//") else line
        await conversation.send(source.dialect.message(text.encode()))
    elif command == "/ping":
        conversation.ping(rest.encode() or None)
    elif command == "/close":
        code, _, reason = rest.partition(" ")
        if code and not code.isdecimal():
            raise ValueError(f"a close code is a number such as 1000 or 4000, not {code!r}")
        conversation.close(int(code or 1000), reason)
    elif command == "/stop":
        conversation.stop()
    elif command == "/start":
        conversation.start()
    else:
        await conversation.send(source.dialect.command(command, rest))
