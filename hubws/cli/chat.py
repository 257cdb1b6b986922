"""`hubws chat`: talk to the others in a room of a chat server."""

from __future__ import annotations

import json
from functools import partial
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from rich.text import Text

from ..hub.history import Position
from .connect import Source, converse
from .dialect import Dialect
from .options import ClientOptions, RetryOptions
from .output import Output, printable
from .running import run

EXAMPLES = """
hubws chat ws://127.0.0.1:8008/ Ada  # in the lobby
hubws chat ws://127.0.0.1:8008/ Ada --room kitchen
echo "dinner is ready" | hubws chat ws://127.0.0.1:8008/ Ada --room kitchen
"""

_NO_OPTIONS = ClientOptions()
_NO_RETRYING = RetryOptions()


def chat(
    url: str,
    name: str,
    /,
    *,
    room: str | None = None,
    linger: float = 1.0,
    retrying: RetryOptions = _NO_RETRYING,
    options: ClientOptions = _NO_OPTIONS,
) -> int:
    """Talk to the others in a room of a chat server.

    What was said before is shown first. At a terminal there is a prompt; in a pipe each line of the
    input is said. A connection that was lost is made anew, and what was said meanwhile is shown.

    Args:
        url: ws://... or wss://... of a `hubws chat-server`; its path is the room.
        name: what the others see.
        room: the room, instead of that of the URL.
        linger: at the end of piped input, go on until nothing has come for so many seconds.

    """
    if not linger >= 0:
        raise ValueError(f"--linger must be 0 seconds or more, not {linger:g}")
    source = Source(ChatDialect(name), linger)
    return run(partial(converse, url_of(url, room), source, retrying.backoff(), options), options)


def url_of(url: str, room: str | None) -> str:
    """Where a room is; asks for what was said there before."""
    where = urlsplit(url)
    path = where.path if room is None else "/" + quote(room, safe="")
    query = where.query
    if "since" not in parse_qs(query, keep_blank_values=True):
        query = f"{query}&since=" if query else "since="
    return where._replace(path=path or "/", query=query).geturl()


class ChatDialect(Dialect):
    """Lines are what people say; `hubws/pages/chat.py` has the messages."""

    help = """\
/name NAME               be called something else
/ping                    measure the round-trip time
/quit, or Ctrl-D         leave
Everything else is said to those in the room; begin with // for a text that begins with /.
"""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._last: Position | None = None  # of what was said
        self._names: dict[str | int, str] = {}
        self._own_id: int | None = None

    def greeting(self) -> list[str | bytes]:
        """Say who it is."""
        return [json.dumps({"event": "SET_NAME", "new_name": self._name})]

    def message(self, line: bytes) -> str:
        """Say it."""
        try:
            text = line.decode()
        except UnicodeDecodeError:
            raise ValueError("is not UTF-8") from None
        return json.dumps({"event": "SAY", "message": text})

    def command(self, name: str, rest: str) -> str:
        """Be called something else."""
        if name != "/name":
            raise ValueError(f"there is no {name}; /help says what there is")
        self._name = rest
        return json.dumps({"event": "SET_NAME", "new_name": rest})

    def show(self, message: str | bytes, output: Output, *, is_interactive: bool) -> None:
        """Show what others say, and note who comes and goes."""
        try:
            event = json.loads(message)
            if not self._is_known(event):
                self._show(event, output)
        except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
            output.note(printable(f"not of a chat: {message[:80]!r}"), style="red")

    def _show(self, event: dict[str, Any], output: Output) -> None:
        if output.is_json:
            output.record(**{"event": "presence"} | event)
            return
        match event:
            case {"event": "CHAT_MSG", "user": str(user), "message": str(text)}:
                output.say(Text.assemble((_shown(user), "bold"), ": ", _shown(text)))
            case {"event": "ERROR", "message": str(text)}:
                output.note(_shown(text), style="red")
            case {"event": "JOINED", "id": own_id, "complete": complete}:
                self._own_id = own_id
                if not complete:
                    output.note("some of what was said is not known any more", style="yellow")
            case {"presence": "snapshot", "members": list(members)}:
                self._names = {one["user"]: _name_of(one) for one in members}
                output.note(_shown("here: " + ", ".join(self._names.values())))
            case {"presence": str(kind), "user": user}:
                if (told := self._told(kind, user, _name_of(event))) and user != self._own_id:
                    output.note(_shown(told))

    def _is_known(self, event: dict[str, Any]) -> bool:
        """Whether it was shown before, over the connection that was lost."""
        if event.get("position") is None:
            return False
        position = Position.parse(event["position"])
        last = self._last
        if last is not None and position.epoch == last.epoch and position.offset <= last.offset:
            return True
        self._last = position
        return False

    def _told(self, kind: str, user: str | int, name: str) -> str:
        before = self._names.get(user)
        if kind == "left":
            self._names.pop(user, None)
            return f"{name} has left"
        self._names[user] = name
        if before is None:
            return f"{name} is here"
        return "" if before == name else f"{before} is now {name}"


def _name_of(present: dict[str, Any]) -> str:
    """What somebody is called, as presence tells it."""
    info = present.get("info")
    name = info.get("name") if isinstance(info, dict) else None
    return str(present.get("user") if name is None else name)


def _shown(text: str) -> str:
    """What others wrote as a terminal may be shown it, with no line that could be somebody else's."""
    return printable(text).replace("\n", "\n    ")
