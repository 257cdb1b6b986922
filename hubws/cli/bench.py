"""`hubws bench`: a load test, its figures, and whether they are good enough."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import attrs
import trio
from cyclopts import Parameter
from cyclopts.types import ExistingFile
from rich.text import Text

from ..bench.messages import Fixed, Template, text_of
from ..bench.plan import Answers, Plan
from ..bench.stages import Stage, seconds_of
from ..errors import HubwsError
from .options import ClientOptions
from .output import ERASE, STDERR, Output, console_at
from .running import Run, Status, run

if TYPE_CHECKING:
    from ..bench.result import Result, Second

EXAMPLES = """
hubws bench ws://127.0.0.1:8008/ --connections 100 --rate 10
hubws bench ws://127.0.0.1:8008/ --in-flight 16 --processes 2
hubws bench ws://127.0.0.1:8008/ --stage 1000:30s --stage 0:10s
hubws bench ws://127.0.0.1:8008/ --fail-if "p99>50ms" --report a.html
"""

CROSSED = 99
"""The exit status when a threshold was crossed; k6 has the same."""

CONNECTIONS, DURATION, RATE, SIZE = 10, "10s", 10.0, 32
"""What is taken when nothing is said."""

PATIENCE, SCENARIO_PATIENCE = "2s", "30s"

_NO_OPTIONS = ClientOptions()

_Switch = Parameter(negative=())


def bench(
    url: str,
    /,
    *more: str,
    connections: Annotated[int | None, Parameter(name=["--connections", "-c"])] = None,
    duration: Annotated[str | None, Parameter(name=["--duration", "-d"])] = None,
    stage: Annotated[tuple[str, ...], _Switch] = (),
    rate: Annotated[float | None, Parameter(name=["--rate", "-r"])] = None,
    in_flight: int | None = None,
    receive_only: Annotated[bool, Parameter(name=["--receive-only", "-m"]), _Switch] = False,
    broadcast: Annotated[bool, _Switch] = False,
    no_answers: Annotated[bool, _Switch] = False,
    senders: int | None = None,
    scenario: ExistingFile | None = None,
    message: str | None = None,
    size: int | None = None,
    file: ExistingFile | None = None,
    template: str | None = None,
    binary: Annotated[bool, _Switch] = False,
    processes: Annotated[int, Parameter(name=["--processes", "-p"])] = 1,
    patience: str | None = None,
    fail_if: Annotated[tuple[str, ...], _Switch] = (),
    save: Path | None = None,
    report: Path | None = None,
    options: ClientOptions = _NO_OPTIONS,
) -> int:
    """Load a WebSocket server, and say what it took.

    Connections send messages at times that were set in advance, and what each took is counted from the
    time that was meant: a server that stalls doesn't get away with it. docs/bench.md says more. Ends
    at Ctrl-C, too, and prints what was measured until then.

    Args:
        url: ws://... or wss://... of a server that sends back what it gets.
        more: of others; connections take them in turns.
        connections: how many; 10 by default.
        duration: such as 30s or 1m30s; 10s by default.
        stage: in place of both: CONNECTIONS:DURATION, such as 100:30s, changes evenly to so many in
            that time; may be repeated.
        rate: messages a second that each connection sends; 10 by default.
        in_flight: messages that each connection keeps on their way, as fast as they come back.
        receive_only: send nothing.
        broadcast: the server relays each message to many; measures how long until they have it.
        no_answers: the server does not send messages back; counts what is sent and received.
        senders: how many of the connections send; all by default, in a broadcast one.
        scenario: a Python file that says what each user does, in place of messages.
        message: what to send.
        size: send a text of so many bytes; 32 by default.
        file: send what is in a file.
        template: send this, with {random:8}, {int:1-100}, {number}, {time} and {stamp} filled in.
        binary: send it as binary.
        processes: that share the connections; one uses one core.
        patience: how long to wait at the end for what is on its way, or for a scenario to come to its
            end; 2s, for scenarios 30s.
        fail_if: a threshold such as "p99>50ms" or "ws_connecting:p95>1s", with which the exit status
            is 99 when it is crossed; may be repeated.
        save: write the result to a file, as JSON.
        report: write it to a file, as a page with plots.

    """
    if receive_only and (rate is not None or in_flight is not None or scenario is not None):
        raise ValueError("--receive-only excludes --rate, --in-flight and --scenario")
    for path in (save, report):
        if path is not None and not path.parent.is_dir():
            raise ValueError(f"{path}: there is no folder {path.parent}")
    if broadcast and no_answers:
        raise ValueError("--broadcast and --no-answers exclude each other")
    answers = Answers.BROADCAST if broadcast else Answers.NONE if no_answers else Answers.ECHO
    if rate is None and in_flight is None and scenario is None and not receive_only:
        rate = RATE
    content = message_of(message, size, file, template, is_binary=binary, has_stamp=broadcast)
    _check_outbox(in_flight, content, options)
    plan = Plan(
        urls=(url, *more),
        stages=stages_of(stage, connections, duration),
        rate=rate,
        in_flight=in_flight,
        message=content,
        answers=answers,
        senders=1 if senders is None and broadcast else senders,
        scenario=scenario,
        processes=processes,
        patience=seconds_of(patience or (SCENARIO_PATIENCE if scenario else PATIENCE)),
        connect=options.arguments(),
    )
    judge = Judge(fail_if, save, report)
    status = run(partial(_bench, plan, judge), options)
    return CROSSED if status == Status.DONE and judge.is_crossed else status


def stages_of(
    stage: Iterable[str], connections: int | None, duration: str | None
) -> tuple[Stage, ...]:
    """The stages that were asked for; all connections at once when none were."""
    stages = tuple(Stage.from_text(text) for text in stage)
    if stages and (connections is not None or duration is not None):
        raise ValueError("--stage excludes --connections and --duration")
    if stages:
        return stages
    number = CONNECTIONS if connections is None else connections
    return (Stage(number, 0.0), Stage(number, seconds_of(duration or DURATION)))


def message_of(
    message: str | None,
    size: int | None,
    file: Path | None,
    template: str | None,
    *,
    is_binary: bool,
    has_stamp: bool,
) -> Fixed | Template:
    """What is to be sent."""
    if sum(one is not None for one in (message, size, file, template)) > 1:
        raise ValueError("--message, --size, --file and --template exclude each other")
    if template is not None:
        return Template(template, is_binary)
    if message is not None:
        return Fixed(message.encode() if is_binary else message)
    if file is not None:
        content = file.read_bytes()
        try:
            return Fixed(content if is_binary else content.decode())
        except UnicodeDecodeError:
            raise ValueError(f"{file} is not UTF-8; --binary sends it as it is") from None
    text = text_of(SIZE if size is None else size, has_stamp=has_stamp)
    return Template(text, is_binary)


def _check_outbox(in_flight: int | None, message: Fixed | Template, options: ClientOptions) -> None:
    """ValueError when more is to be in flight than may wait to be sent."""
    content = message.maker(0)(0)
    size = len(content if isinstance(content, bytes) else content.encode())
    if in_flight is not None and in_flight * size > options.outbox_bytes:
        raise ValueError(
            f"--in-flight {in_flight} messages of {size} bytes are more than fit into the outbox of "
            f"{options.outbox_bytes} bytes (--outbox-bytes)"
        )


@attrs.define
class Judge:
    """What becomes of the result."""

    fail_if: tuple[str, ...]
    save: Path | None
    report: Path | None
    is_crossed: bool = False


async def _bench(plan: Plan, judge: Judge, run: Run) -> Status:
    from ..bench.tables import tables_of  # noqa: PLC0415 - needs hdrhistogram
    from ..bench.thresholds import Threshold  # noqa: PLC0415
    from ..bench.workers import Workers  # noqa: PLC0415

    output = run.output
    thresholds = [Threshold.from_text(text) for text in judge.fail_if]
    progress = Progress(plan, output)
    workers = Workers(plan, progress.on_second)
    results: list[Result] = []

    async def carry_out(scope: trio.CancelScope) -> None:
        results.append(await workers.run())
        scope.cancel()

    async with trio.open_nursery() as nursery:
        with progress.shown(), run.interrupt.here() as scope:
            nursery.start_soon(carry_out, scope)
            await trio.sleep_forever()
        if not results:
            await workers.end_early()
    (result,) = results
    if not result.total.counts["ws_sessions"] and result.total.errors:
        raise HubwsError(f"no connection: {next(iter(result.total.errors))}")
    for line in tables_of(result):
        output.say(line)
    output.record(event="summary", **result.to_dict())
    verdicts = [(one.text, one.is_crossed(result)) for one in thresholds]
    for threshold, (_, crossed) in zip(thresholds, verdicts, strict=True):
        judge.is_crossed |= crossed
        word, style = ("crossed", "bold red") if crossed else ("kept", "green")
        output.say(Text.assemble((word, style), f": {threshold.text} ({threshold.told(result)})"))
        output.record(event="threshold", text=threshold.text, crossed=crossed)
    await _write(judge, result, verdicts)
    return Status.DONE


async def _write(judge: Judge, result: Result, verdicts: list[tuple[str, bool]]) -> None:
    """Write the files that were asked for."""
    from ..bench.report import page_of  # noqa: PLC0415 - needs hdrhistogram

    if judge.save is not None:
        await trio.Path(judge.save).write_text(json.dumps(result.to_dict(), indent=1) + "\n")
    if judge.report is not None:
        await trio.Path(judge.report).write_text(page_of(result, verdicts))


class Progress:
    """Says each second how it goes: in one line at a terminal, else a line each time."""

    def __init__(self, plan: Plan, output: Output) -> None:
        self._plan = plan
        self._output = output
        self._console = console_at(STDERR)
        self._is_live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._line = ""

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Show the line, at a terminal, while the block runs."""
        if not self._is_live or self._output.is_quiet:
            yield
            return
        self._output.prompt = lambda: self._line
        try:
            yield
        finally:
            self._output.prompt = None
            self._output.put(ERASE, to=STDERR)

    def on_second(self, second: Second) -> None:
        """Say how one second went."""
        from ..bench.tables import line_of  # noqa: PLC0415 - needs hdrhistogram

        line = line_of(second, self._plan)
        self._output.record(event="second", **second.to_dict())
        is_over = second.number >= self._plan.seconds and not second.received
        if self._output.is_quiet or is_over:
            return
        if not self._is_live:
            self._output.note(line, style="")
            return
        with self._console.capture() as captured:
            self._console.print(line, end="", no_wrap=True, overflow="ellipsis", markup=False)
        self._line = captured.get()
        self._output.put("\r", to=STDERR)
