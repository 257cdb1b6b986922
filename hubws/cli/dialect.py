"""What lines and messages mean: here themselves; in a chat, what somebody says."""

from __future__ import annotations

import base64

from rich.text import Text

from .output import Output, printable


class Dialect:
    """What is sent for a line of the user's, and shown of a message: the line and the message.

    Attributes:
        help: what can be said at a prompt.

    """

    help = """\
/ping [TEXT]             measure the round-trip time
/binary HEX              send a binary message
/close [CODE [REASON]]   close the connection
/stop                    close it with 1000, or stop dialling; /start opens another
/quit, or Ctrl-D         close it and leave
Everything else is sent as it is; begin with // for a text that begins with /.
"""

    def __init__(self, *, is_binary: bool = False) -> None:
        self._is_binary = is_binary

    def greeting(self) -> list[str | bytes]:
        """What comes first on each connection."""
        return []

    def message(self, line: bytes) -> str | bytes:
        """What a line is sent as. ValueError when it can't be."""
        try:
            return line if self._is_binary else line.decode()
        except UnicodeDecodeError:
            raise ValueError("is not UTF-8; --binary sends it as it is") from None

    def command(self, name: str, rest: str) -> str | bytes:
        """What is sent for a command at the prompt. ValueError when there is none of that name."""
        if name != "/binary":
            raise ValueError(f"there is no {name}; /help says what there is")
        try:
            return bytes.fromhex(rest)
        except ValueError:
            raise ValueError(f"/binary needs bytes such as 00 ff, not {rest!r}") from None

    def show(self, message: str | bytes, output: Output, *, is_interactive: bool) -> None:
        """Show a message that has come."""
        if output.is_json:
            output.record(event="message", **_as_json(message))
        elif not output.is_terminal:
            output.put(message)
            output.put(b"\n")
        else:
            before = Text("< ", style="green") if is_interactive else Text()
            output.say(before + Text(_as_shown(message)))


def _as_json(message: str | bytes) -> dict[str, str]:
    if isinstance(message, str):
        return {"text": message}
    return {"base64": base64.b64encode(message).decode()}


def _as_shown(message: str | bytes) -> str:
    if isinstance(message, str):
        return printable(message)
    dots = "..." if len(message) > 64 else ""
    return f"{len(message)} bytes: {message[:64].hex(' ')}{dots}"
