"""hubws/cli/output.py: lines for people and for programs."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
import trio
import trio.testing
from rich.table import Table

from hubws.cli.output import MAX_WAITING, Output, printable, read_some, size_in_words


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (1_234_567_890, "1.2 GB"),
        (10**17, "100000.0 TB"),
    ],
)
def test_sizes(size: int, words: str):
    assert size_in_words(size) == words


def test_control_characters_are_spelled_out():
    assert printable("a\tb\nö \x1b[2J\x9b\x00") == "a\tb\nö \\x1b[2J\\x9b\\x00"


async def test_people_and_programs(capfd: pytest.CaptureFixture[str]):
    for is_json in (False, True):
        output = Output(is_json=is_json)
        output.say("[bold]for people[/bold] :smile:")
        output.record(event="for programs", text="ö\n")
        output.note("a note")
        output.error("two\nlines")
        await output.flush()
        told = capfd.readouterr()
        if is_json:
            assert json.loads(told.out) == {"event": "for programs", "text": "ö\n"}
            assert told.err == "hubws: two lines\n"
        else:
            assert told.out == "[bold]for people[/bold] :smile:\n"
            assert told.err == "a note\nhubws: two lines\n"


def test_half_a_surrogate_pair_is_no_invalid_output(capfdbinary: pytest.CaptureFixture[bytes]):
    output = Output(is_json=True)
    output.record(text="ö \ud800 \udcff")
    output.flush_at_end()
    assert capfdbinary.readouterr().out.decode() == '{"text": "ö \\ud800 \\udcff"}\n'


def test_tables_are_not_cut(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "40")
    output = Output()
    table = Table(box=None, pad_edge=False)
    for _ in range(10):
        table.add_column("123.456ms")
    output.say(table)
    output.flush_at_end()
    assert capfd.readouterr().out.split() == ["123.456ms"] * 10


async def test_what_is_not_read_is_bounded_and_counted(capfd: pytest.CaptureFixture[str]):
    output = Output()
    line = "x" * 99_999
    for _ in range(MAX_WAITING // 100_000 + 11):
        output.note(line, style="")
    await output.flush()
    *lines, last = capfd.readouterr().err.splitlines()
    assert lines == [line] * (MAX_WAITING // 100_000 + 1)
    assert last == "(10 lines were left out here)"


async def test_an_error_is_told_though_the_output_fails(monkeypatch: pytest.MonkeyPatch):
    output = Output()
    told: list[bytes] = []

    def write(to: int, data: memoryview) -> int:
        if to == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        told.append(bytes(data))
        return len(data)

    monkeypatch.setattr(os, "write", write)
    output.put("one\n")
    output.put("two\n")
    output.error("something")
    with pytest.raises(OSError, match="No space left on device: 'standard output'"):
        await output.flush()
    output.put("three\n")
    await output.flush()
    assert told == [b"hubws: something\n"]


async def test_the_prompt_stays_below(monkeypatch: pytest.MonkeyPatch):
    output = Output()
    put: list[bytes] = []

    def write(_to: int, data: memoryview) -> int:
        put.append(bytes(data))
        return len(data)

    monkeypatch.setattr(os, "isatty", lambda _: True)
    monkeypatch.setattr(os, "write", write)
    output.prompt = lambda: "> half a li"
    output.put("line\n")
    output.flush_at_end()
    assert put == [b"\r\x1b[Kline\n> half a li"]


async def test_reading_can_be_cancelled_and_reads_files(tmp_path: Path):
    read, write = os.pipe()
    try:
        with trio.move_on_after(0) as scope:
            await read_some(read)
        assert scope.cancelled_caught
        os.write(write, b"there")
        assert await read_some(read) == b"there"
    finally:
        os.close(read)
        os.close(write)
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    try:
        os.pwrite(fd, b"kept", 0)
        assert await read_some(fd) == b"kept"
        assert await read_some(fd) == b""
    finally:
        os.close(fd)
