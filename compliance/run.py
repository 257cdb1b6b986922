"""One run of the suite's cases against hubws, dealt out to several fuzzers at once."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import attrs
import trio
import trustme

from .processes import proxies, running, wait_for
from .suite import HERE, Judgement, Suite, Task, read_reports
from .verdict import Run

AGENT = "hubws"
NATIVE = {"native": "require", "pure": "never"}
"""The codec's name for HUBWS_NATIVE."""

SLOW = ("9", "12", "13")
"""The sections that `core` leaves out: large messages, and compression."""


@attrs.frozen(kw_only=True)
class Combination:
    """One way to have hubws tested."""

    role: str
    """server or client: what hubws is."""
    codec: str
    """native or pure."""
    transport: str
    """socket or stream."""
    style: str
    """callbacks or iterate."""
    through: str
    """nothing, TLS, nginx or haproxy: what stands between hubws and the fuzzers."""
    cases: str
    """core, fast or full."""

    def __str__(self) -> str:
        return ", ".join(attrs.astuple(self))

    def choose(self, cases: Sequence[str]) -> list[str]:
        """Those of the suite's cases that are to be run."""
        return [one for one in cases if self.cases != "core" or one.split(".")[0] not in SLOW]


@attrs.frozen(kw_only=True)
class Plan:
    """How the work is done; no result should depend on it."""

    jobs: int
    """Fuzzers at once."""
    messages: int
    """How many messages each compression case sends."""
    minutes: float
    """After this a run is stopped, and the cases of fuzzers that were not done are missing."""


async def run(
    combination: Combination, cases: Sequence[str], suite: Suite, plan: Plan, folder: Path
) -> Run:
    """Run some cases once; logs and reports go into the folder, which is empty.

    Raises SuiteError when a program that all cases need does not start.
    """
    programs = _Programs(combination, suite, plan, folder)
    # neighbours are alike, so that each fuzzer gets as much work as the others
    shares = [list(cases[job :: plan.jobs]) for job in range(plan.jobs)]
    with trio.move_on_after(plan.minutes * 60) as scope:
        if combination.role == "server":
            await programs.test_server(shares)
        else:
            await programs.test_client(shares)
    if scope.cancelled_caught:
        programs.problems.append(f"stopped after {plan.minutes:g} minutes")
    judgements: dict[str, Judgement] = {}
    for job in range(plan.jobs):
        judgements |= read_reports(folder / f"reports-{job}", AGENT)
    return Run(judgements, programs.problems)


class _Programs:
    """The programs of one run, and what was wrong with them."""

    def __init__(self, combination: Combination, suite: Suite, plan: Plan, folder: Path) -> None:
        self.problems: list[str] = []
        self._how = combination
        self._suite = suite
        self._plan = plan
        self._folder = folder
        self._files = _make_certificate(folder) if combination.through == "TLS" else None

    async def test_server(self, shares: Sequence[Sequence[str]]) -> None:
        """Start the echo server, and as many fuzzers that connect to it."""
        async with AsyncExitStack() as stack:
            log = self._folder / "server.log"
            command = self._testee("echo_server.py", "0")
            if self._files is not None:
                command += ["--tls", self._files.certificate, self._files.key]
            server = await stack.enter_async_context(running(command, log, **self._variables))
            port = int(await wait_for(r"^wss?://127\.0\.0\.1:(\d+)/", server, log))
            (port,) = await stack.enter_async_context(self._proxies([port]))
            url = f"{self._scheme}://127.0.0.1:{port}/"
            async with trio.open_nursery() as nursery:
                for job, cases in enumerate(shares):
                    nursery.start_soon(self._run_fuzzer, job, self._task(job, cases, url=url))
        self._check(server, log)

    async def test_client(self, shares: Sequence[Sequence[str]]) -> None:
        """Start fuzzers that listen, and an echo client for each."""
        async with AsyncExitStack() as stack:
            ports = []
            for job, cases in enumerate(shares):
                task = self._task(job, cases)
                log = self._folder / f"fuzzer-{job}.log"
                fuzzer = await stack.enter_async_context(running(self._suite.fuzzer(task), log))
                ports.append(int(await wait_for(r"^port (\d+)", fuzzer, log)))
            ports = await stack.enter_async_context(self._proxies(ports))
            async with trio.open_nursery() as nursery:
                for job, port in enumerate(ports):
                    nursery.start_soon(self._run_client, job, port)

    def _task(self, job: int, cases: Sequence[str], url: str | None = None) -> Path:
        task = Task(
            cases=cases,
            messages=self._plan.messages,
            output=str(self._folder / f"reports-{job}"),
            agent=AGENT,
            url=url,
            certificate=str(self._files.certificate) if self._files else None,
            key=str(self._files.key) if self._files else None,
        )
        return task.write(self._folder / f"task-{job}.json")

    async def _run_fuzzer(self, job: int, task: Path) -> None:
        log = self._folder / f"fuzzer-{job}.log"
        async with running(self._suite.fuzzer(task), log) as fuzzer:
            await fuzzer.wait()
        self._check(fuzzer, log)

    async def _run_client(self, job: int, port: int) -> None:
        log = self._folder / f"client-{job}.log"
        command = self._testee("echo_client.py", f"{self._scheme}://127.0.0.1:{port}", AGENT)
        if self._files is not None:
            command += ["--ca", self._files.authority]
        async with running(command, log, **self._variables) as client:
            await client.wait()
        self._check(client, log)

    def _check(self, process: trio.Process, log: Path) -> None:
        """Whatever the other side did to it, a program ends in order and has seen no exception."""
        said = log.read_text(errors="replace")
        if process.returncode != 0 or "Traceback" in said:
            self.problems.append(f"{log.name}: exit status {process.returncode}\n{said[-2000:]}")

    def _testee(self, script: str, *arguments: str) -> list[str | Path]:
        command: list[str | Path] = [sys.executable, HERE / script, *arguments, self._how.style]
        if self._files is None:  # TLS is a stream by itself
            command += ["--transport", self._how.transport]
        return command

    @property
    def _scheme(self) -> str:
        return "wss" if self._files else "ws"

    @property
    def _variables(self) -> dict[str, str]:
        return {"HUBWS_NATIVE": NATIVE[self._how.codec]}

    @asynccontextmanager
    async def _proxies(self, ports: list[int]) -> AsyncIterator[list[int]]:
        if self._how.through in ("nginx", "haproxy"):
            async with proxies(self._how.through, ports, self._folder) as fronts:
                yield fronts
        else:
            yield ports


@attrs.frozen
class _Files:
    authority: Path
    certificate: Path
    key: Path


def _make_certificate(folder: Path) -> _Files:
    """A certificate for 127.0.0.1, of an authority that is made for this run."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    files = _Files(folder / "authority.pem", folder / "certificate.pem", folder / "key.pem")
    authority.cert_pem.write_to_path(files.authority)
    certificate.private_key_pem.write_to_path(files.key)
    (leaf,) = certificate.cert_chain_pems
    leaf.write_to_path(files.certificate)
    return files
