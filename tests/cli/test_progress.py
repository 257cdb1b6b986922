"""hubws/cli/progress.py: a bar where standard error is a terminal, and nothing elsewhere."""

from __future__ import annotations

import os

import pytest

from hubws.cli.output import Output
from hubws.cli.progress import ProgressLine


def progress_of(output: Output) -> ProgressLine:
    line = ProgressLine(output, 1000)
    with line.shown():
        assert (output.prompt is not None) is line._is_shown
        line.tell("sending \x1b[2J", 1000)
        line.is_at(500)
    assert output.prompt is None
    return line


def test_nothing_elsewhere_or_when_quiet(monkeypatch: pytest.MonkeyPatch):
    output = Output()
    progress_of(output)
    assert not output._waiting
    monkeypatch.setattr(os, "isatty", lambda _: True)
    monkeypatch.setenv("TERM", "xterm")
    for quiet in (Output(is_quiet=True), Output(is_json=True)):
        progress_of(quiet)
        assert not quiet._waiting


def test_one_line_without_what_would_steer_the_terminal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "isatty", lambda _: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    output = Output()
    line = progress_of(output)
    assert output._waiting
    shown = line._render()
    assert "sending \\x1b[2J" in shown
    assert "50%" in shown
    assert "500/1,000" in shown or "0.5/1.0 kB" in shown
    assert "\n" not in shown
