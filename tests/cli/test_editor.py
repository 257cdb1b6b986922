"""hubws/cli/editor.py: keys in, lines out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubws.cli.editor import MAX_HISTORY, LineEditor

LEFT, RIGHT, UP, DOWN = "\x1b[D", "\x1b[C", "\x1b[A", "\x1b[B"


@pytest.mark.parametrize(
    ("keys", "text", "cursor"),
    [
        ("hello", "hello", 5),
        (f"helo{LEFT}l", "hello", 4),
        (f"ab{LEFT}{LEFT}{LEFT}{RIGHT}x", "axb", 2),
        (f"ab{RIGHT}c", "abc", 3),
        ("bc\x01a\x05d", "abcd", 4),
        ("bc\x1b[Ha\x1b[Fd", "abcd", 4),
        ("bc\x1b[1~a\x1b[4~d", "abcd", 4),
        ("ab\x7fc", "ac", 2),
        ("\x7f\x08a", "a", 1),
        (f"abc{LEFT}{LEFT}\x1b[3~", "ac", 1),
        ("abc\x01\x04", "bc", 0),
        (f"abc{LEFT}\x15", "c", 0),
        (f"abc{LEFT}\x0b", "ab", 2),
        ("one two  \x17", "one ", 4),
        ("one\x17", "", 0),
        ("a\tb", "a\tb", 3),
        ("a\x1b[15~\x1bx\x07b", "ab", 2),
    ],
)
def test_keys(keys: str, text: str, cursor: int):
    editor = LineEditor()
    assert editor.feed(keys.encode()) == []
    assert (editor.text, editor.cursor) == (text, cursor)


def test_lines():
    editor = LineEditor()
    assert editor.feed("one\rtwö\nthr".encode()) == ["one", "twö"]
    assert editor.text == "thr"
    assert editor.feed(b"ee\r\x04") == ["three", None]


def test_history():
    editor = LineEditor()
    editor.feed(b"one\rtwo\rtwo\r\rne")
    shown = []
    for key in [UP, UP, UP, DOWN, DOWN, DOWN]:
        editor.feed(key.encode())
        shown.append(editor.text)
    assert shown == ["two", "one", "one", "two", "ne", "ne"]
    assert editor.history == ["one", "two"]


def test_history_is_bounded():
    editor = LineEditor()
    for number in range(MAX_HISTORY + 10):
        editor.feed(b"%d\r" % number)
    assert len(editor.history) == MAX_HISTORY
    assert editor.history[-1] == str(MAX_HISTORY + 9)


@given(keys=st.text(alphabet=f"ab ö漢\x1b[A{LEFT}\x7f\x17\r\x04"), at=st.integers(0, 40))
def test_keys_may_come_in_pieces(keys: str, at: int):
    whole, pieces = LineEditor(), LineEditor()
    typed = keys.encode()
    lines = whole.feed(typed)
    assert pieces.feed(typed[:at]) + pieces.feed(typed[at:]) == lines
    assert (pieces.text, pieces.cursor) == (whole.text, whole.cursor)


@pytest.mark.parametrize(
    ("keys", "columns", "shown"),
    [
        ("hello", 80, "> hello"),
        (f"hello{LEFT}{LEFT}", 80, "> hello\x1b[2D"),
        (f"漢字{LEFT}", 80, "> 漢字\x1b[2D"),
        ("a\tb", 80, "> a b"),
        ("0123456789\x01", 8, "> 01234\x1b[5D"),
    ],
)
def test_render(keys: str, columns: int, shown: str):
    editor = LineEditor()
    editor.feed(keys.encode())
    assert editor.render("> ", columns) == shown


@given(keys=st.text(alphabet=f"abö漢{LEFT}", max_size=60), columns=st.integers(0, 40))
def test_a_line_fits_into_the_terminal(keys: str, columns: int):
    from rich.cells import cell_len

    editor = LineEditor()
    editor.feed(keys.encode())
    visible = editor.render("> ", columns).partition("\x1b")[0]
    assert cell_len(visible) <= max(columns, 6)
