"""hubws/cli/app.py and hubws/__main__.py: names, help, and arguments that make no sense."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
import trio

import hubws
from hubws.cli.app import COMMANDS, main, make_app
from hubws.cli.running import Status
from tests.cli.command import COMMAND, run, run_unread
from tests.cli.conftest import Ends, Serve, echo

URL = "ws://127.0.0.1:1/"


def test_without_a_command_the_commands_are_listed(capfd: pytest.CaptureFixture[str]):
    assert main([]) == Status.DONE
    shown = capfd.readouterr().out
    assert all(f" {name} " in shown for name in COMMANDS)
    assert "hubws COMMAND --help" in shown


def test_version(capfd: pytest.CaptureFixture[str]):
    assert main(["--version"]) == Status.DONE
    assert capfd.readouterr().out == f"{hubws.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--version"], set()),
        (["ping", "--help"], {"ping"}),
        (["send", "--help"], {"send", "receive"}),  # in one module
        (["--help"], set(COMMANDS)),
    ],
)
async def test_only_what_is_asked_for_is_imported(arguments: list[str], names: set[str]):
    program = "import sys; from hubws.cli.app import main; main(sys.argv[1:]); print(*sys.modules)"
    end = await run(*arguments, command=[sys.executable, "-c", program])
    imported = end.lines[-1].split()
    assert {
        name for name, command in COMMANDS.items() if f"hubws.cli.{command.module}" in imported
    } == names


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command_has_examples_that_work(
    name: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")  # which asks for them in a pipe, too
    for file in ("chain.pem", "key.pem"):
        (tmp_path / file).touch()
    assert main([name, "--help"]) == Status.DONE
    shown = capfd.readouterr().out
    assert "\x1b" not in shown
    function, examples = COMMANDS[name].load()
    lines = examples.strip().splitlines()
    assert len(lines) >= 2
    for line in lines:
        assert line in shown
        example = line.partition("  #")[0].partition("hubws ")[2]
        command, _, _ = make_app().parse_args(example, exit_on_error=False, print_error=False)
        assert command is function


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["pong"], 'Unknown command "pong"'),
        (["ping"], "URL"),
        (["ping", URL, "--cuont", "3"], "--cuont"),
        (["ping", URL, "--count", "three"], "three"),
        (["ping", URL, "--count", "0"], "--count must be 1 or more, not 0"),
        (["ping", URL, "--interval", "0"], "--interval and --wait must be over 0"),
        (["connect", URL, "--linger", "-1"], "--linger must be 0 seconds or more"),
        (["connect", URL, "--retries", "-1"], "retries must be a whole number from 0"),
        (["connect", URL, "--max-wait", "inf"], "maximum must be 0 or more and finite"),
        (["echo-client", URL, "--in-flight", "2000"], "more than fits into the outbox"),
        (["echo-client", URL, "--in-flight", "0"], "must be 1 or more"),
        (["echo-client", URL, "--duration", "0"], "must be over 0 seconds"),
        (["push-server", "--rate", "0"], "--rate must be over 0"),
        (["broadcast-server", "--policy", "block"], "block"),
        (["echo-server", "--certificate", "none.pem"], "none.pem"),
        (["echo-server", "--port", "99999"], "port must be 0 to 65535, not 99999"),
        (["push-server", "--workers", "2", "--port", "-1"], "port must be 0 to 65535, not -1"),
        (["proxy", URL, "--port", "65536"], "port must be 0 to 65535, not 65536"),
    ],
)
def test_wrong_arguments(arguments: list[str], error: str, capfd: pytest.CaptureFixture[str]):
    assert main(arguments) == Status.USAGE
    told = capfd.readouterr()
    assert told.out == ""
    assert told.err.startswith("hubws: ")
    assert told.err.count("\n") == 1
    assert error in told.err


async def test_a_wrong_argument_is_told_in_one_line():
    end = await run("ping", URL, "--cuont", "3")
    assert end.status == 2
    assert end.lines == []
    assert end.errors == ["hubws: Unknown option: --cuont. Did you mean --count?"]


async def test_a_missing_package_is_named():
    program = "import sys; sys.modules['cyclopts'] = None; from hubws.__main__ import main; main()"
    program = program.replace("main()", "sys.exit(main())")
    end = await run(command=[sys.executable, "-c", program])
    assert end.status == 3
    assert end.errors == ["hubws: the command line needs cyclopts: pip install 'hubws[cli]'"]


async def test_help_that_nobody_reads():
    assert await run_unread("--help") == (128 + signal.SIGPIPE, b"")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["echo-server", "--port", "0"]])
async def test_output_on_a_full_disk(arguments: list[str]):
    end = await run("-c", 'exec "$@" > /dev/full', "sh", *COMMAND, *arguments, command=["sh"])
    assert end.status == 1
    assert end.errors == ["hubws: standard output: No space left on device"]


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
async def test_closed_descriptors_are_not_taken_for_sockets(closed: str, serve: Serve, ends: Ends):
    url = await serve(echo, callbacks=ends.callbacks)
    shell = ["-c", f'exec "$@" {closed}', "sh", *COMMAND, "ping", url, "--count", "1"]
    with trio.fail_after(30):
        end = await run(*shell, command=["sh"])
    assert end.status == 0
    assert await ends.next_code() == 1000


async def test_a_closed_input_has_no_lines(serve: Serve):
    url = await serve(echo)
    end = await run("-c", 'exec "$@" <&-', "sh", *COMMAND, "connect", url, command=["sh"])
    assert end.status == 0
    assert end.lines == []
