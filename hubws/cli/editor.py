"""A line as it is typed: keys in, lines out, without any input or output of its own."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable

from rich.cells import cell_len

MAX_HISTORY = 1000
"""Lines that are remembered."""

MAX_LINE = 65536
"""Characters; more are not taken."""

_KEY = re.compile(r"\x1b\[[0-9;?]*[@-~]|\x1bO[@-~]|\x1b[^\[O]|[^\x1b]", re.DOTALL)
_BEGINNING = re.compile(r"\x1b(\[[0-9;?]{0,13}|O)?")
"""What may become a key with what is still to come."""


class LineEditor:
    """A line, a cursor in it, and the lines before it. The keys are those of most shells.

    Attributes: `text`; `cursor`, the number of characters before it; `history`, the oldest first.
    """

    def __init__(self) -> None:
        self.text = ""
        self.cursor = 0
        self.history: list[str] = []
        self._at = 0  # in the history; its length for the new line
        self._new = ""  # the new line, while an old one is looked at
        self._rest = ""  # the beginning of a key
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._keys: dict[str, Callable[[], object]] = {
            "\x01": self._home, "\x1b[H": self._home, "\x1bOH": self._home, "\x1b[1~": self._home,
            "\x05": self._end, "\x1b[F": self._end, "\x1bOF": self._end, "\x1b[4~": self._end,
            "\x02": self._left, "\x1b[D": self._left, "\x1bOD": self._left,
            "\x06": self._right, "\x1b[C": self._right, "\x1bOC": self._right,
            "\x10": self._older, "\x1b[A": self._older, "\x1bOA": self._older,
            "\x0e": self._newer, "\x1b[B": self._newer, "\x1bOB": self._newer,
            "\x7f": self._erase, "\x08": self._erase, "\x1b[3~": self._delete,
            "\x15": self._erase_all_before, "\x0b": self._erase_all_behind, "\x17": self._erase_word,
        }  # fmt: skip

    def feed(self, data: bytes) -> list[str | None]:
        """Take what was typed; returns the lines that it completes, None for the end (Ctrl-D)."""
        typed = self._rest + self._decoder.decode(data)
        lines: list[str | None] = []
        at = 0
        while at < len(typed) and not _BEGINNING.fullmatch(typed, at):
            match = _KEY.match(typed, at)
            if match is None:  # an escape that begins no key
                at += 1
                continue
            at = match.end()
            key = match[0]
            if key in "\r\n":
                lines.append(self._enter())
            elif key == "\x04" and not self.text:
                lines.append(None)
            elif key == "\x04":
                self._delete()
            elif key in self._keys:
                self._keys[key]()
            elif key.isprintable() or key == "\t":
                self._insert(key)
        self._rest = typed[at:]
        return lines

    def render(self, prompt: str, columns: int) -> str:
        """The line for a terminal of that width, its cursor where it belongs."""
        room = columns - cell_len(prompt) - 1
        text = self.text.replace("\t", " ")
        before, behind = text[: self.cursor], text[self.cursor :]
        while cell_len(before) > max(room, 1):
            before = before[max(1, (cell_len(before) - room) // 2) :]
        room -= cell_len(before)
        behind = behind[: max(room, 0)]
        while cell_len(behind) > max(room, 0):
            behind = behind[:-1]
        back = f"\x1b[{cell_len(behind)}D" if behind else ""
        return prompt + before + behind + back

    # -- keys ----------------------------------------------------------------------------------

    def _enter(self) -> str:
        line = self.text
        if line and self.history[-1:] != [line]:
            self.history = [*self.history[1 - MAX_HISTORY :], line]
        self._show("", len(self.history))
        return line

    def _insert(self, char: str) -> None:
        if len(self.text) < MAX_LINE:
            self.text = self.text[: self.cursor] + char + self.text[self.cursor :]
            self.cursor += 1

    def _show(self, text: str, at: int) -> None:
        self.text, self._at, self.cursor = text, at, len(text)

    def _older(self) -> None:
        if self._at > 0:
            if self._at == len(self.history):
                self._new = self.text
            self._show(self.history[self._at - 1], self._at - 1)

    def _newer(self) -> None:
        if self._at < len(self.history):
            at = self._at + 1
            self._show(self._new if at == len(self.history) else self.history[at], at)

    def _home(self) -> None:
        self.cursor = 0

    def _end(self) -> None:
        self.cursor = len(self.text)

    def _left(self) -> None:
        self.cursor = max(0, self.cursor - 1)

    def _right(self) -> None:
        self.cursor = min(len(self.text), self.cursor + 1)

    def _cut(self, start: int, end: int) -> None:
        self.text = self.text[:start] + self.text[end:]
        self.cursor = start

    def _erase(self) -> None:
        self._cut(max(0, self.cursor - 1), self.cursor)

    def _delete(self) -> None:
        self._cut(self.cursor, self.cursor + 1)

    def _erase_all_before(self) -> None:
        self._cut(0, self.cursor)

    def _erase_all_behind(self) -> None:
        self._cut(self.cursor, len(self.text))

    def _erase_word(self) -> None:
        kept = self.text[: self.cursor].rstrip()
        self._cut(kept.rfind(" ") + 1, self.cursor)
