"""The Autobahn test suite: the environment it lives in, its fuzzers and their reports."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs

HERE = Path(__file__).parent
ROOT = HERE.parent
ENVIRONMENT = ROOT / ".venv-autobahn"
FUZZER = HERE / "fuzzer.py"

VERSION = "25.10.1"
CASES = 517
"""How many it has."""
VIRTUALENV = "20.21.1"
"""The last one that makes environments for Python 2.7."""


class SuiteError(Exception):
    """The test suite can't be had, or does not do what it should."""


@attrs.frozen
class Suite:
    """The installed test suite."""

    python: Path
    versions: dict[str, str]
    cases: list[str]
    """Names such as 9.1.6, in the order of the suite."""

    def fuzzer(self, task: Path) -> list[str | Path]:
        """The command that runs a task that was written to a file."""
        return [self.python, "-B", FUZZER, task]


@attrs.frozen(kw_only=True)
class Task:
    """What a fuzzer has to do."""

    cases: Sequence[str]
    messages: int
    """How many each compression case sends; 1,000 as shipped."""
    output: str
    """The folder for its reports."""
    agent: str
    url: str | None = None
    """The server under test; None to be a server itself."""
    certificate: str | None = None
    key: str | None = None

    def write(self, path: Path) -> Path:
        """Write it for a fuzzer to read."""
        path.write_text(json.dumps(attrs.asdict(self)))
        return path


@attrs.frozen
class Judgement:
    """What the suite thinks of one case in one run."""

    behavior: str
    close: str
    report: str = ""
    """The file that tells it all, with what went over the wire."""


def read_reports(folder: Path, agent: str) -> dict[str, Judgement]:
    """The judgements that a fuzzer has left in its folder; none if it left none."""
    index = folder / "index.json"
    if not index.exists():
        return {}
    return {
        case: Judgement(it["behavior"], it["behaviorClose"], str(folder / it["reportfile"]))
        for case, it in json.loads(index.read_text()).get(agent, {}).items()
    }


def explain(judgement: Judgement) -> str:
    """The suite's own words about a case, if its report is there."""
    path = Path(judgement.report)
    if not path.is_file():
        return ""
    report: Mapping[str, str] = json.loads(path.read_text())
    return f"{report['result']} {report['resultClose']}"


# -- the environment -------------------------------------------------------------------------------


def open_suite() -> Suite:
    """The suite in its own environment, which is made when it is missing or broken."""
    with _alone():
        try:
            return _look()
        except SuiteError:
            _make()
            return _look()


@contextmanager
def _alone() -> Iterator[None]:
    """Keep out whoever else would make the environment now."""
    folder = HERE / "build"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _look() -> Suite:
    """The suite as it is there; SuiteError when it does not work or is another version."""
    python = ENVIRONMENT / "bin/python"
    try:
        found = json.loads(_run([python, "-B", FUZZER]))
    except OSError as error:
        raise SuiteError(f"the test suite is not there: {error}") from error
    if (found["versions"]["autobahntestsuite"], len(found["cases"])) != (VERSION, CASES):
        raise SuiteError(f"the test suite is not {VERSION} with {CASES} cases, but {found}")
    return Suite(python, found["versions"], found["cases"])


def _make() -> None:
    python = _find_python()
    print(f"== installing the Autobahn test suite into {ENVIRONMENT.name}", file=sys.stderr)
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
        _run([*pip, "install", "--target", folder, f"virtualenv=={VIRTUALENV}"])
        _run(
            [sys.executable, "-m", "virtualenv", "-q", "--no-download", "-p", python, ENVIRONMENT],
            PYTHONPATH=folder,
        )
    # its pip is the last one for Python 2.7, and says so at length
    _run(
        [ENVIRONMENT / "bin/python", "-m", "pip", "-qq", "install", f"autobahntestsuite=={VERSION}"]
    )


def _find_python() -> str:
    """The Python 2.7 that PY27 says, else the one on PATH, else pyenv's."""
    if python := os.environ.get("PY27"):
        try:
            version = _run([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
        except (OSError, SuiteError) as error:
            raise SuiteError(f"PY27 is {python}, which does not run: {error}") from error
        if version.strip() != "2.7":
            raise SuiteError(f"PY27 is {python}, which is Python {version.strip()}, not 2.7")
        return python
    try:
        return _run([ROOT / "scripts/find-python", "2.7"]).strip()
    except SuiteError:
        raise SuiteError(
            "the Autobahn test suite needs Python 2.7, which is neither on PATH nor among pyenv's; "
            "say where it is: PY27=/path/to/python2.7"
        ) from None


def _run(command: Sequence[str | Path], **variables: str) -> str:
    """Run a command that must succeed, and return what it printed."""
    done = subprocess.run(
        command, env=os.environ | variables, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SuiteError(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout
