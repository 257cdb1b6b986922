"""The commands, by their names, and what becomes of arguments that make no sense."""

from __future__ import annotations

import sys
from collections.abc import Callable
from textwrap import indent

from cyclopts import App
from cyclopts.exceptions import CycloptsError

from . import (
    bench,
    bench_seeds,
    chat,
    chat_server,
    connect,
    echo_client,
    ping,
    proxy,
    rtt_server,
    send_receive,
    servers,
    transfer_server,
)
from .output import STDOUT, Output, OutputClosed, console_at
from .running import Status, output_closed

DESCRIPTION = "WebSocket servers and clients to try things out with."

EXAMPLES = """
hubws echo-server --port 8008
hubws ping ws://127.0.0.1:8008/ --count 3

hubws COMMAND --help shows what a command takes, and examples.
"""

COMMANDS: dict[str, tuple[Callable[..., int], str]] = {
    "echo-server": (servers.echo_server, servers.ECHO_EXAMPLES),
    "push-server": (servers.push_server, servers.PUSH_EXAMPLES),
    "broadcast-server": (servers.broadcast_server, servers.BROADCAST_EXAMPLES),
    "chat-server": (chat_server.chat_server, chat_server.EXAMPLES),
    "rtt-server": (rtt_server.rtt_server, rtt_server.EXAMPLES),
    "proxy": (proxy.proxy, proxy.EXAMPLES),
    "transfer-server": (transfer_server.transfer_server, transfer_server.EXAMPLES),
    "connect": (connect.connect, connect.EXAMPLES),
    "echo-client": (echo_client.echo_client, echo_client.EXAMPLES),
    "ping": (ping.ping, ping.EXAMPLES),
    "bench": (bench.bench, bench.EXAMPLES),
    "chat": (chat.chat, chat.EXAMPLES),
    "send": (send_receive.send, send_receive.SEND_EXAMPLES),
    "receive": (send_receive.receive, send_receive.RECEIVE_EXAMPLES),
}
"""By name: the function, and examples for its help."""

SUBCOMMANDS = {"bench": {"seeds": (bench_seeds.seeds, bench_seeds.EXAMPLES)}}
"""Those of a command, in the same way."""


def make_app() -> App:
    """The command line as cyclopts has it."""
    app = App(
        "hubws",
        help=DESCRIPTION,
        help_format="markdown",
        help_epilogue=_shown(EXAMPLES),
    )
    for name, (function, examples) in COMMANDS.items():
        app.command(function, name=name, help_epilogue=_shown(examples))
        for sub, (subfunction, subexamples) in SUBCOMMANDS.get(name, {}).items():
            app[name].command(subfunction, name=sub, help_epilogue=_shown(subexamples))
    return app


def _shown(examples: str) -> str:
    """Examples as they stand under a command's help, in Markdown."""
    return "Examples:\n\n" + indent(examples.strip(), "    ")


def main(arguments: list[str] | None = None) -> int:
    """Run the command that the arguments name; returns the exit status."""
    app = make_app()
    output, console = Output(), console_at(STDOUT)
    try:
        with console.capture() as shown:  # help and version
            status = app(
                sys.argv[1:] if arguments is None else arguments,
                console=console,
                exit_on_error=False,
                print_error=False,
                result_action="return_value",
            )
        output.put(shown.get())
    except (CycloptsError, ValueError) as error:
        output.error(str(error))
        status = Status.USAGE
    try:
        output.flush_at_end()
    except OutputClosed:
        return output_closed()
    return Status.DONE if status is None else int(status)
