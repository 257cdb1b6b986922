"""The commands, by their names, and what becomes of arguments that make no sense."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from functools import partial
from importlib import import_module
from textwrap import indent

import attrs
from cyclopts import App
from cyclopts.exceptions import CycloptsError

from .output import STDOUT, Output, console_at
from .running import Status, with_errors_told

DESCRIPTION = "WebSocket servers and clients to try things out with."

EXAMPLES = """
hubws echo-server --port 8008
hubws ping ws://127.0.0.1:8008/ --count 3

hubws COMMAND --help shows what a command takes, and examples.
"""


@attrs.frozen
class Command:
    """Where a command is: a module of this room, a function in it, and examples for its help."""

    module: str
    function: str
    examples: str = "EXAMPLES"

    def load(self) -> tuple[Callable[..., int], str]:
        """The function and the examples."""
        module = import_module(f".{self.module}", __package__)
        return getattr(module, self.function), getattr(module, self.examples)


COMMANDS = {
    "echo-server": Command("servers", "echo_server", "ECHO_EXAMPLES"),
    "push-server": Command("servers", "push_server", "PUSH_EXAMPLES"),
    "broadcast-server": Command("servers", "broadcast_server", "BROADCAST_EXAMPLES"),
    "chat-server": Command("chat_server", "chat_server"),
    "rtt-server": Command("rtt_server", "rtt_server"),
    "proxy": Command("proxy", "proxy"),
    "transfer-server": Command("transfer_server", "transfer_server"),
    "connect": Command("connect", "connect"),
    "echo-client": Command("echo_client", "echo_client"),
    "ping": Command("ping", "ping"),
    "bench": Command("bench", "bench"),
    "chat": Command("chat", "chat"),
    "send": Command("send_receive", "send", "SEND_EXAMPLES"),
    "receive": Command("send_receive", "receive", "RECEIVE_EXAMPLES"),
}

SUBCOMMANDS = {"bench": {"seeds": Command("bench_seeds", "seeds")}}
"""Those of a command."""


def make_app(names: Collection[str] = COMMANDS) -> App:
    """The command line as cyclopts has it, with those commands."""
    app = App(
        "hubws",
        help=DESCRIPTION,
        help_format="markdown",
        help_epilogue=_shown(EXAMPLES),
        version_format="plaintext",
    )
    for name in names:
        _add(app, name, COMMANDS[name])
        for subname, command in SUBCOMMANDS.get(name, {}).items():
            _add(app[name], subname, command)
    return app


def _add(app: App, name: str, command: Command) -> None:
    function, examples = command.load()
    app.command(function, name=name, help_epilogue=_shown(examples))


def needed_by(arguments: list[str]) -> Collection[str]:
    """The commands to import: the one that is named, since all of them take 0.1 s more."""
    if arguments == ["--version"]:
        return ()
    return [name for name in arguments[:1] if name in COMMANDS] or COMMANDS


def _shown(examples: str) -> str:
    """Examples as they stand under a command's help, in Markdown."""
    return "Examples:\n\n" + indent(examples.strip(), "    ")


def main(arguments: list[str] | None = None) -> int:
    """Run the command that the arguments name; returns the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    return with_errors_told(partial(_dispatch, given), Output())


def _dispatch(arguments: list[str], output: Output) -> int:
    app, console = make_app(needed_by(arguments)), console_at(STDOUT)
    try:
        with console.capture() as shown:  # help and version
            status = app(
                arguments,
                console=console,
                exit_on_error=False,
                print_error=False,
                result_action="return_value",
            )
    except CycloptsError as error:
        raise ValueError(str(error)) from None
    output.put(shown.get())
    return Status.DONE if status is None else int(status)
