"""A runner for programs, one for all tests; and a folder with a certificate."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import trustme

from .pages import ROOT

NAME = "chat.example.org"
"""Of the deployment page's server."""


@attrs.frozen
class Running:
    """A program that runs, or has run."""

    process: int
    folder: Path
    runner: Runner

    def wait(self) -> tuple[int, str, str]:
        """Its exit status, what it printed, and what it said on standard error."""
        status = self.runner.ask(wait=self.process)
        return status, self._said("stdout"), self._said("stderr")

    def _said(self, where: str) -> str:
        return (self.folder / where).read_text(encoding="utf-8")

    def interrupt(self) -> None:
        """As Ctrl-C does."""
        os.kill(self.process, signal.SIGINT)


class Runner:
    """Starts programs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, **request: object) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def start(self, code: str, folder: Path) -> Running:
        """Run a program in that folder, which is made."""
        folder.mkdir()
        program = folder / "program.py"
        program.write_text(code, encoding="utf-8")
        return Running(self.ask(run=str(program), output=str(folder)), folder, self)


@pytest.fixture(scope="session")
def runner() -> Iterator[Runner]:
    command = [sys.executable, "-m", "tests.docs.runner"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Runner(process)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> Path:
    """A folder in the place of /etc/chat, with a certificate."""
    certificate = authority.issue_cert(NAME)
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "certificate.pem")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    return tmp_path
