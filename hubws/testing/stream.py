"""A stream that goes wrong by plan."""

from __future__ import annotations

from collections import Counter, deque

import trio

from .plan import Course, Fault, Kind, Plan

RECEIVE = 64 * 1024


class FaultyStream(trio.abc.HalfCloseableStream):
    """A stream around another one; the plan's `to_server` is for what is sent through it.

    Attributes:
        done: how many faults of each kind have come.

    """

    def __init__(self, stream: trio.abc.HalfCloseableStream, plan: Plan) -> None:
        self._stream = stream
        self._out = Course(plan.to_server)
        self._in = Course(plan.to_client)
        self._arrived: deque[bytes | Fault] = deque()
        self._unstalled = trio.Event()  # by `release`, or because the stream is closed
        self._is_stalled = False  # outwards; cancelled, it still is
        self._is_closed = False
        self._is_reset = False
        self.done: Counter[Kind] = Counter()

    @property
    def sent(self) -> int:
        """Bytes that have passed, outwards."""
        return self._out.passed

    def release(self) -> None:
        """Let pass what is stalled, and what would stall later."""
        self._unstalled.set()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        self._check()
        if self._is_stalled:
            await self._unstalled.wait()
            self._check()
        for step in self._out.steps(data):
            if not isinstance(step, Fault):
                await self._stream.send_all(step)
                continue
            self._is_stalled |= step.kind is Kind.STALL
            await self._suffer(step)
            if step.kind is Kind.END:
                await self._stream.send_eof()
                raise trio.BrokenResourceError("the stream was ended by plan")

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        self._check()
        while True:
            if not self._arrived:
                try:
                    data = await self._stream.receive_some(RECEIVE)
                except trio.ClosedResourceError:
                    self._check()
                    raise
                if not data:
                    return b""
                self._arrived += self._in.steps(bytes(data))
            step = self._arrived[0]
            if isinstance(step, bytes):
                self._arrived.popleft()
                if max_bytes is not None and len(step) > max_bytes:
                    self._arrived.appendleft(step[max_bytes:])
                return step[:max_bytes]
            await self._suffer(step)  # cancelled, it will be suffered again
            if step.kind is Kind.END:
                return b""  # now and for ever
            self._arrived.popleft()

    async def _suffer(self, fault: Fault) -> None:
        """Do what the plan says."""
        if fault.kind is Kind.DELAY:
            await trio.sleep(fault.seconds)
        elif fault.kind is Kind.STALL:
            await self._unstalled.wait()
        elif fault.kind is Kind.RESET:
            self._is_reset = True
            await trio.aclose_forcefully(self._stream)
        self.done[fault.kind] += 1
        self._check()

    def _check(self) -> None:
        if self._is_closed:
            raise trio.ClosedResourceError("the stream was closed")
        if self._is_reset:
            raise trio.BrokenResourceError("the stream was reset by plan")

    async def wait_send_all_might_not_block(self) -> None:
        self._check()
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        self._check()
        await self._stream.send_eof()

    async def aclose(self) -> None:
        self._is_closed = True
        self._unstalled.set()
        await self._stream.aclose()
