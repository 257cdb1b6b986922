"""Carries out a plan: starts the processes, and puts together what they measure."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from datetime import UTC, datetime

import attrs
import trio

from .child import Child, WorkerFailed, started
from .metrics import Metrics
from .plan import Plan, Share
from .result import Result, Second
from .scenario import Script

LEAD = 0.1
"""Seconds from the last process being ready to the beginning."""


@attrs.define
class _Pending:
    """One second of which not all processes have told."""

    active: int = 0
    told: int = 0
    metrics: Metrics = attrs.field(factory=Metrics)


class Workers:
    """The processes that carry out a plan.

    Args:
        plan: what to do.
        on_second: called with each second when all processes have told what they measured in it.

    """

    def __init__(self, plan: Plan, on_second: Callable[[Second], object]) -> None:
        if plan.scenario is not None:
            Script.load(plan.scenario)  # raises here, where nothing runs
        self._plan = plan
        self._on_second = on_second
        self._hands = min(plan.processes, max(stage.target for stage in plan.stages))
        self._total = Metrics()
        self._pending: dict[int, _Pending] = {}
        self._seconds: list[Second] = []
        self._children: list[Child] = []
        self._told_at = 0
        self._is_over_early = False
        self._failure: WorkerFailed | None = None

    async def run(self) -> Result:
        """Carry it out. Raises WorkerFailed when a process does."""
        began_at = datetime.now(UTC)
        async with contextlib.AsyncExitStack() as stack:
            children = [
                await stack.enter_async_context(started(Share(self._plan, hand, self._hands)))
                for hand in range(self._hands)
            ]
            for child in children:
                await child.next()  # it is ready
            start = time.monotonic_ns() + round(LEAD * 1e9)
            for child in children:
                await child.tell(str(start))
            self._children = children
            if self._is_over_early:
                await self.end_early()
            async with trio.open_nursery() as nursery:
                for child in children:
                    nursery.start_soon(self._gather, child, nursery.cancel_scope)
            if self._failure is not None:
                raise self._failure
            seconds = (self._told_at - start) / 1e9
        for number in sorted(self._pending):
            self._close(number)
        return Result(
            plan=self._plan,
            began_at=began_at,
            seconds=max(seconds, 0.0),
            total=self._total,
            by_second=self._seconds,
            is_interrupted=self._is_over_early,
        )

    async def end_early(self) -> None:
        """Have all processes end in order, before their time."""
        self._is_over_early = True
        for child in self._children:
            await child.tell("end")

    async def _gather(self, child: Child, scope: trio.CancelScope) -> None:
        """Add up what one process tells, until its end; when it failed, that is the end of all."""
        try:
            await self._add_up(child)
        except WorkerFailed as error:
            self._failure = error
            scope.cancel()

    async def _add_up(self, child: Child) -> None:
        while (told := await child.next()) is not None:
            self._told_at = time.monotonic_ns()
            number: int = told["second"]
            second = self._pending.setdefault(number, _Pending())
            second.active += told["active"]
            second.told += 1
            second.metrics.merge(told["metrics"])
            self._total.merge(told["metrics"])
            if second.told == self._hands:
                self._close(number)

    def _close(self, number: int) -> None:
        pending = self._pending.pop(number)
        second = Second.of(number, pending.active, pending.metrics)
        self._seconds.append(second)
        self._on_second(second)
