"""The monitor: its schedule, what it counts, its alarms, what it tells, what it costs."""

from __future__ import annotations

import gc
import itertools
import json
import math
import socket
import ssl
import sys
import tracemalloc
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio
import trio.testing
import trustme

import hubws
from hubws import Callbacks, Connection, ConnectionClosed, Frame, Hub, Opcode
from hubws.hub.alarms import AlarmKind, Alarms, MonitorAlarm
from hubws.hub.monitor import Monitor, open_monitor
from hubws.transport.tcp_info import read_tcp_info
from tests.connection.pairs import Pairs


@pytest.fixture
async def make_pair() -> AsyncIterator[Pairs]:
    pairs = Pairs("socket")
    yield pairs
    await pairs.end()


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    async with hubws.open_hub() as hub:
        yield hub


class Peer:
    """Answers pings after a delay in seconds, or not at all (None)."""

    def __init__(self, nursery: trio.Nursery, delay: float | None = None) -> None:
        self.nursery = nursery
        self.delay = delay
        self.pinged_at: list[float] = []
        self.payloads: list[bytes] = []
        self.callbacks = Callbacks(on_frame=self.on_frame)

    def on_frame(self, connection: Connection, frame: Frame) -> bool:
        if frame.opcode is not Opcode.PING:
            return False
        self.pinged_at.append(trio.current_time())
        self.payloads.append(bytes(frame.payload))
        if self.delay is not None:
            self.nursery.start_soon(self.answer, connection, bytes(frame.payload), self.delay)
        return True

    async def answer(self, connection: Connection, payload: bytes, delay: float) -> None:
        await trio.sleep(delay)
        connection.pong(payload)


class TestSchedule:
    async def test_each_member_has_its_own_slot(
        self,
        hub: Hub,
        make_pair: Pairs,
        nursery: trio.Nursery,
        autojump_clock: trio.testing.MockClock,
    ) -> None:
        peers = [Peer(nursery, 0.0) for _ in range(7)]
        for peer in peers:
            hub.register(make_pair(client=peer.callbacks)[1])
        start = trio.current_time()
        async with open_monitor(hub, interval=10):
            await trio.sleep(40.5)
        golden = (math.sqrt(5) - 1) / 2
        for number, peer in enumerate(peers):
            slot = number * golden % 1
            first = start + 10 * slot if number else start + 10
            expected = [first + 10 * cycle for cycle in range(4)]
            expected = [time for time in expected if time < start + 40.5]
            assert peer.pinged_at[: len(expected)] == pytest.approx(expected, abs=1e-4)
            assert len(peer.pinged_at) in {4, 5}

    async def test_many_are_spread_evenly(
        self,
        hub: Hub,
        make_pair: Pairs,
        nursery: trio.Nursery,
        autojump_clock: trio.testing.MockClock,
    ) -> None:
        peers = [Peer(nursery, 0.0) for _ in range(100)]
        for peer in peers:
            hub.register(make_pair(client=peer.callbacks)[1])
        start = trio.current_time()
        async with open_monitor(hub, interval=10) as monitor:
            await trio.sleep(30)
            assert monitor.total.pings == pytest.approx(300, abs=2)
        times = [time - start for peer in peers for time in peer.pinged_at]
        for second in range(30):
            assert 8 <= sum(second <= time < second + 1 for time in times) <= 12
        for peer in peers:
            periods = [b - a for a, b in zip(peer.pinged_at, peer.pinged_at[1:], strict=False)]
            assert periods == pytest.approx([10] * len(periods), abs=0.11)

    async def test_newcomers_and_leavers(
        self,
        hub: Hub,
        make_pair: Pairs,
        nursery: trio.Nursery,
        autojump_clock: trio.testing.MockClock,
    ) -> None:
        early, late, leaving = (Peer(nursery, 0.0) for _ in range(3))
        hub.register(make_pair(client=early.callbacks)[1])
        async with open_monitor(hub, interval=10) as monitor:
            await trio.sleep(35)
            newcomer = make_pair(client=late.callbacks)[1]
            leaver = make_pair(client=leaving.callbacks)[1]
            hub.register(newcomer)
            hub.register(leaver)
            with pytest.raises(KeyError):
                monitor.connection(newcomer)
            await trio.sleep(1.01)
            assert list(monitor) == list(hub)
            await trio.sleep(10)
            assert len(late.pinged_at) == len(leaving.pinged_at) == 1
            hub.unregister(leaver)
            await trio.sleep(20)
            assert len(leaving.pinged_at) == 1
            assert len(late.pinged_at) == 3
            newcomer.abort()
            assert list(monitor) == list(hub)
            assert monitor.total.connections == 1
            hub.register(leaver)
            await trio.sleep(12)
            assert len(leaving.pinged_at) == 2
            assert monitor.total.pings == len(early.pinged_at) + 5
        assert leaver.state is hubws.State.OPEN
        await trio.sleep(50)
        assert len(leaving.pinged_at) == 2

    async def test_newcomers_by_the_thousand(
        self,
        hub: Hub,
        make_pair: Pairs,
        monkeypatch: pytest.MonkeyPatch,
        autojump_clock: trio.testing.MockClock,
    ) -> None:
        """Some in one turn, the others in the next; none is left out."""
        monkeypatch.setattr("hubws.hub.monitor.WATCHED_AT_ONCE", 10)
        for _ in range(95):
            hub.register(make_pair()[1])
        async with open_monitor(hub, interval=10) as monitor:
            counts = []
            while len(list(monitor)) < 95:
                await trio.sleep(0.01)
                counts.append(len(list(monitor)))
            assert {b - a for a, b in itertools.pairwise(counts)} <= {0, 5, 10}
            assert trio.current_time() < 1
            assert set(monitor) == set(hub)

    async def test_one_that_is_closing_is_passed_over(
        self,
        hub: Hub,
        make_pair: Pairs,
        autojump_clock: trio.testing.MockClock,
    ) -> None:
        _, server = make_pair(start_client=False, close_timeout=100)
        hub.register(server)
        async with open_monitor(hub, interval=1) as monitor:
            await trio.sleep(0.5)
            server.close_nowait()
            await trio.sleep(10)
            assert monitor.connection(server).pings == 0

    async def test_without_members(self, hub: Hub, autojump_clock: trio.testing.MockClock) -> None:
        async with open_monitor(hub) as monitor:
            await trio.sleep(100)
            assert monitor.total.pings == 0

    async def test_errors_come_out_as_they_are(self, hub: Hub) -> None:
        with pytest.raises(ZeroDivisionError):
            async with open_monitor(hub):
                raise ZeroDivisionError

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            ({"interval": 0}, "interval must be over 0"),
            ({"interval": math.nan}, "interval must be over 0"),
            ({"interval": math.inf}, "interval must be over 0"),
            ({"timeout": -1}, "timeout must be over 0"),
            ({"rtt_bound": 0}, "rtt_bound must be over 0"),
            ({"loss_bound": 1.5}, "loss_bound must be a share"),
            ({"clear_at": -0.1}, "clear_at must be a share"),
        ],
    )
    async def test_bad_arguments(self, hub: Hub, arguments: dict[str, Any], match: str) -> None:
        with pytest.raises(ValueError, match=match):
            async with open_monitor(hub, **arguments):
                raise AssertionError


class TestFigures:
    async def test_round_trip_times(
        self,
        hub: Hub,
        make_pair: Pairs,
        nursery: trio.Nursery,
        autojump_clock: trio.testing.MockClock,
    ) -> None:
        """Known delays give known percentiles; the total has those of all."""
        fast, slow = Peer(nursery, 0.010), Peer(nursery, 0.500)
        _, first = make_pair(client=fast.callbacks)
        _, second = make_pair(client=slow.callbacks)
        hub.register(first)
        hub.register(second)
        async with open_monitor(hub, interval=1) as monitor:
            await trio.sleep(100.9)
            one, two, total = monitor.connection(first), monitor.connection(second), monitor.total
        assert one.rtt.percentile(50) == pytest.approx(0.010, rel=0.01)
        assert [one.last, one.smoothed] == pytest.approx([0.010, 0.010])
        assert two.rtt.percentile(99) == two.rtt.maximum == pytest.approx(0.500)
        assert one.pings == one.rtt.count == 100
        assert two.pings == 101
        assert total.rtt.count == one.rtt.count + two.rtt.count
        assert total.rtt.percentile(25) == pytest.approx(0.010, rel=0.01)
        assert total.rtt.percentile(75) == pytest.approx(0.500, rel=0.01)
        assert (total.lost, total.skipped, one.loss) == (0, 0, 0.0)
        assert one.queue_delay == total.queue_delay.maximum == pytest.approx(0, abs=1e-9)
        assert one.kernel is None  # not TCP
        assert math.isnan(one.application_delay)
        assert first.rtt.samples == 100  # the connection's own statistics have them too

    async def test_lost_pings(
        self,
        hub: Hub,
        make_pair: Pairs,
        nursery: trio.Nursery,
        autojump_clock: trio.testing.MockClock,
    ) -> None:
        peer = Peer(nursery, 0.0)
        _, server = make_pair(client=peer.callbacks)
        hub.register(server)
        async with open_monitor(hub, interval=1, timeout=0.5) as monitor:
            await trio.sleep(3.5)
            assert math.isnan(monitor.connection(server).loss)  # of three pings
            await trio.sleep(1)
            assert monitor.connection(server).loss == 0.0
            peer.delay = None
            await trio.sleep(5)
            assert monitor.connection(server).lost == 4  # the fifth may still be answered
            assert monitor.connection(server).loss == pytest.approx(4 / 8)
            await trio.sleep(100)
            assert monitor.connection(server).loss == 1.0
            peer.delay = 0.0
            await trio.sleep(17)
            figures = monitor.connection(server)
            assert figures.loss == 0.0
            assert figures.lost == monitor.total.lost == 105
            assert figures.pings == figures.rtt.count + figures.lost

    async def test_a_pong_may_take_longer_than_the_interval(
        self,
        hub: Hub,
        make_pair: Pairs,
        nursery: trio.Nursery,
        autojump_clock: trio.testing.MockClock,
    ) -> None:
        """One ping in flight: slots pass by until its pong is there."""
        peer = Peer(nursery, 2.5)
        _, server = make_pair(client=peer.callbacks)
        hub.register(server)
        async with open_monitor(hub, interval=1, timeout=5) as monitor:
            await trio.sleep(30.5)
            figures = monitor.connection(server)
        assert figures.lost == 0
        assert [figures.rtt.minimum, figures.rtt.maximum] == pytest.approx([2.5, 2.5])
        assert figures.pings == 10
        assert figures.skipped == monitor.total.skipped == 20

    async def test_a_pong_that_comes_too_late_is_not_counted(
        self,
        hub: Hub,
        make_pair: Pairs,
        nursery: trio.Nursery,
        autojump_clock: trio.testing.MockClock,
    ) -> None:
        peer = Peer(nursery, 2.5)
        _, server = make_pair(client=peer.callbacks)
        hub.register(server)
        async with open_monitor(hub, interval=1, timeout=0.9) as monitor:
            await trio.sleep(20.5)
            figures = monitor.connection(server)
        assert figures.rtt.count == 0
        assert figures.lost == 19

    async def test_the_pong_of_a_later_ping_stands_for_this_one(
        self,
        hub: Hub,
        make_pair: Pairs,
        nursery: trio.Nursery,
        autojump_clock: trio.testing.MockClock,
    ) -> None:
        """A peer may answer only the newest of several pings: then none was lost."""
        peer = Peer(nursery)
        client, server = make_pair(client=peer.callbacks)
        hub.register(server)
        async with open_monitor(hub, interval=1, timeout=0.5) as monitor:
            await trio.sleep(1.2)
            later = server.ping_nowait()
            await trio.sleep(0.1)
            client.pong(later)
            await trio.sleep(0.8)
            figures = monitor.connection(server)
            assert (figures.pings, figures.lost, figures.rtt.count) == (2, 0, 0)
            later = server.ping_nowait()
            await trio.sleep(0.1)
            client.pong(later)
            client.pong(peer.payloads[-2])  # that of the monitor behind that of the later ping
            await trio.sleep(1)
            figures = monitor.connection(server)
            assert (figures.pings, figures.lost, figures.rtt.count) == (3, 0, 0)

    async def test_other_pongs_are_not_counted(
        self,
        hub: Hub,
        make_pair: Pairs,
        nursery: trio.Nursery,
        autojump_clock: trio.testing.MockClock,
    ) -> None:
        peer = Peer(nursery, 0.25)
        client, server = make_pair(client=peer.callbacks)
        hub.register(server)
        async with open_monitor(hub, interval=1) as monitor:
            await trio.sleep(0.5)
            await server.ping()
            client.pong(b"unasked for")
            client.pong(b"")
            await trio.sleep(0.4)
            assert monitor.connection(server).rtt.count == 0
            await trio.sleep(0.2)
            client.pong(b"unasked for")  # while one is in flight
            await trio.sleep(0.2)
            assert monitor.connection(server).rtt.count == 1
            hub.unregister(server)
            client.pong(peer.payloads[-1])
            await trio.sleep(3)
            assert monitor.total.rtt.count == 1

    async def test_queue_delay_is_no_part_of_the_round_trip(
        self, hub: Hub, make_pair: Pairs, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A ping waits behind a frame that has begun: for this process that is no loss and no RTT."""
        client, server = make_pair(start_client=False, write_timeout=None)
        hub.register(server)
        await server.send(bytes(1_000_000))
        async with open_monitor(hub, interval=1, timeout=2) as monitor:
            await trio.sleep(11.5)
            figures = monitor.connection(server)
            assert (figures.pings, figures.lost) == (1, 0)
            assert figures.queue_delay == pytest.approx(10.5)
            assert math.isnan(figures.longest_queue_delay)
            client.begin()
            await trio.sleep(0.4)
            figures = monitor.connection(server)
            assert figures.rtt.maximum == pytest.approx(0, abs=1e-9)
            assert figures.longest_queue_delay == pytest.approx(10.5)
            assert monitor.total.queue_delay.maximum == pytest.approx(10.5)
            await trio.sleep(1)
            figures = monitor.connection(server)
            assert figures.queue_delay == pytest.approx(0, abs=1e-9)
            assert figures.longest_queue_delay == pytest.approx(10.5)

    async def test_while_nobody_here_reads_no_ping_is_lost(
        self, hub: Hub, make_pair: Pairs, autojump_clock: trio.testing.MockClock
    ) -> None:
        client, server = make_pair(inbox_messages=1)
        hub.register(server)
        async with open_monitor(hub, interval=1, timeout=0.5) as monitor:
            for _ in range(3):
                await client.send("x")
            await trio.sleep(10.5)
            assert server.is_paused
            figures = monitor.connection(server)
            assert (figures.pings, figures.lost) == (1, 0)
            for _ in range(3):
                await server.receive()
            await trio.sleep(3)
            assert monitor.connection(server).rtt.count == 4

    async def test_more_pings_than_may_be_in_flight(
        self, hub: Hub, make_pair: Pairs, autojump_clock: trio.testing.MockClock
    ) -> None:
        _, server = make_pair(start_client=False)
        hub.register(server)
        async with open_monitor(hub, interval=1) as monitor, trio.open_nursery() as nursery:
            for _ in range(64):
                nursery.start_soon(server.ping)
            await trio.sleep(3.5)
            assert monitor.connection(server).skipped == 3
            nursery.cancel_scope.cancel()


class TestKernel:
    @pytest.mark.parametrize("tls", [False, True])
    async def test_beside_the_pings(self, hub: Hub, tls: bool) -> None:
        """Over TCP the kernel's estimate tells the application's delay from the network's."""
        server_context = client_context = None
        if tls:
            authority = trustme.CA()
            server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            authority.issue_cert("localhost", "127.0.0.1").configure_cert(server_context)
            client_context = ssl.create_default_context()
            authority.configure_trust(client_context)

        async def stay(connection: Connection) -> None:
            async with hub.member(connection):
                await connection.wait_closed()

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:

                async def serve(task_status: Any) -> None:
                    await hubws.serve(
                        stay, "127.0.0.1", 0, ssl_context=server_context, task_status=task_status
                    )

                peer = Peer(nursery, 0.2)
                server = await nursery.start(serve)
                url = f"{'wss' if tls else 'ws'}://127.0.0.1:{server.port}/"
                async with (
                    hubws.connect(
                        url, callbacks=peer.callbacks, ssl_context=client_context
                    ) as client,
                    open_monitor(hub, interval=0.3) as monitor,
                    monitor.samples() as samples,
                ):
                    await anext(samples)
                    sample = await anext(samples)
                    figures = monitor.connection(sample.connection)
                    described = await monitor.snapshot()
                    info = client.tcp_info()
                assert client.tcp_info() is None
                nursery.cancel_scope.cancel()
        assert sample.kernel is not None
        assert sample.rtt is not None
        assert info is not None
        assert info.rtt > 0
        assert info.variation >= 0
        assert info.retransmitted == 0
        assert 0 < sample.kernel.rtt < 0.1  # loopback, and an acknowledgement that may be delayed
        assert sample.rtt > 0.19
        assert sample.application_delay == pytest.approx(sample.rtt - sample.kernel.rtt)
        assert figures.kernel is not None
        assert figures.application_delay > 0.1
        assert monitor.total.kernel_rtt.count == monitor.total.rtt.count >= 2
        assert described["connections"][0]["kernel"]["rtt"] == figures.kernel.rtt

    async def test_elsewhere_there_is_none(
        self, make_pair: Pairs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, unix = make_pair()
        assert unix.tcp_info() is None
        with socket.create_server(("127.0.0.1", 0)) as listener:
            with socket.create_connection(listener.getsockname()) as sock:
                assert read_tcp_info(sock) is not None
                monkeypatch.setattr(sys, "platform", "win32")
                assert read_tcp_info(sock) is None
            monkeypatch.undo()
            assert read_tcp_info(sock) is None  # closed

    async def test_is_asked_now_and_then_while_nobody_takes_samples(self, hub: Hub) -> None:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                callbacks = Callbacks(on_open=hub.register)
                server = await nursery.start(hubws.serve, callbacks, "127.0.0.1", 0)
                async with (
                    hubws.connect(f"ws://127.0.0.1:{server.port}/"),
                    open_monitor(hub, interval=0.02) as monitor,
                ):
                    while monitor.total.rtt.count < 12:
                        await trio.sleep(0.01)
                    total = monitor.total
                nursery.cancel_scope.cancel()
        assert total.kernel_rtt.count == (total.rtt.count + 7) // 8


class TestAlarms:
    async def test_raised_and_cleared_once(
        self,
        hub: Hub,
        make_pair: Pairs,
        nursery: trio.Nursery,
        autojump_clock: trio.testing.MockClock,
    ) -> None:
        """Beyond the bound it is raised; between 80 % and 100 % of it nothing changes."""
        peer = Peer(nursery, 0.05)
        _, server = make_pair(client=peer.callbacks)
        hub.register(server)
        async with (
            open_monitor(hub, interval=1, rtt_bound=0.1) as monitor,
            monitor.alarms(policy="drop_oldest") as alarms,
        ):
            for delay, count in [
                (0.05, 0), (0.095, 0), (0.2, 1), (0.15, 1), (0.09, 1), (0.05, 2), (0.09, 2), (0.2, 3)
            ]:  # fmt: skip
                peer.delay = delay
                await trio.sleep(60)
                assert len(alarms) == count, delay
                assert bool(monitor.active_alarms) == count % 2
            told = [await anext(alarms) for _ in range(3)]
        assert [alarm.is_raised for alarm in told] == [True, False, True]
        assert {(alarm.connection, alarm.kind) for alarm in told} == {(server, AlarmKind.RTT)}
        assert told[0].value > 0.1 >= told[0].bound
        assert told[1].value <= 0.08
        assert told[0].time < told[1].time < told[2].time

    async def test_of_loss(
        self,
        hub: Hub,
        make_pair: Pairs,
        nursery: trio.Nursery,
        autojump_clock: trio.testing.MockClock,
    ) -> None:
        peer = Peer(nursery, 0.0)
        _, server = make_pair(client=peer.callbacks)
        hub.register(server)
        async with (
            open_monitor(hub, interval=1, timeout=0.5, loss_bound=0.2) as monitor,
            monitor.alarms() as alarms,
        ):
            await trio.sleep(20.5)
            peer.delay = None
            await trio.sleep(4)  # 3 of the last 16 are lost
            assert monitor.active_alarms == []
            await trio.sleep(1)
            assert [alarm.value for alarm in monitor.active_alarms] == [4 / 16]
            raised = await anext(alarms)
            peer.delay = 0.0
            await trio.sleep(14)
            assert len(alarms) == 1
            cleared = await anext(alarms)
        assert (raised.kind, raised.is_raised) == (AlarmKind.LOSS, True)
        assert (cleared.kind, cleared.is_raised, cleared.value) == (AlarmKind.LOSS, False, 2 / 16)

    @pytest.mark.parametrize("how", ["unregister", "abort", "close"])
    async def test_are_cleared_when_the_connection_goes(
        self,
        hub: Hub,
        make_pair: Pairs,
        nursery: trio.Nursery,
        autojump_clock: trio.testing.MockClock,
        how: str,
    ) -> None:
        peer = Peer(nursery)
        _, server = make_pair(client=peer.callbacks)
        hub.register(server)
        told: list[MonitorAlarm] = []
        async with open_monitor(hub, interval=1, timeout=0.5, loss_bound=0.5) as monitor:
            await trio.sleep(10)
            async with monitor.alarms() as alarms:  # begins with those that are active
                told.append(await anext(alarms))
                if how == "unregister":
                    hub.unregister(server)
                elif how == "abort":
                    server.abort()
                else:
                    monitor.close()
                told.append(await anext(alarms))
            assert monitor.active_alarms == []
        assert [alarm.is_raised for alarm in told] == [True, False]

    async def test_that_nobody_reads_stay_bounded(
        self,
        hub: Hub,
        make_pair: Pairs,
        nursery: trio.Nursery,
        autojump_clock: trio.testing.MockClock,
    ) -> None:
        peer = Peer(nursery, 0.0)
        hub.register(make_pair(client=peer.callbacks)[1])
        async with (
            open_monitor(hub, interval=1, rtt_bound=0.1) as monitor,
            monitor.alarms(limit=3, policy="drop_newest") as newest,
            monitor.alarms() as latest,
        ):
            for round_ in range(10):
                peer.delay = 0.5 if round_ % 2 == 0 else 0.0
                await trio.sleep(40)
            assert (len(newest), newest.dropped) == (3, 7)
            assert (len(latest), latest.conflated) == (1, 9)
            assert not (await anext(latest)).is_raised


class TestSamples:
    async def test_every_block_gets_all_of_them(
        self,
        hub: Hub,
        make_pair: Pairs,
        nursery: trio.Nursery,
        autojump_clock: trio.testing.MockClock,
    ) -> None:
        peer = Peer(nursery, 0.1)
        _, server = make_pair(client=peer.callbacks)
        hub.register(server)
        async with open_monitor(hub, interval=1, timeout=0.5) as monitor:
            async with monitor.samples() as one, monitor.samples(limit=2) as other:
                await trio.sleep(5.5)
                peer.delay = None
                await trio.sleep(1.5)
                monitor.close()
                samples = [sample async for sample in one]
                last = [sample async for sample in other]
            async with monitor.samples() as late:
                await trio.sleep(5)
                assert len(late) == 0
        assert [sample.rtt for sample in samples] == [pytest.approx(0.1)] * 5 + [None]
        assert last == samples[-2:]
        assert other.dropped == 4
        assert samples[0].connection is server
        assert samples[0].queue_delay == pytest.approx(0, abs=1e-9)
        assert math.isnan(samples[-1].queue_delay)
        assert math.isnan(samples[-1].application_delay)

    async def test_latest_of_each_connection(
        self,
        hub: Hub,
        make_pair: Pairs,
        nursery: trio.Nursery,
        autojump_clock: trio.testing.MockClock,
    ) -> None:
        for _ in range(3):
            hub.register(make_pair(client=Peer(nursery, 0.0).callbacks)[1])
        async with (
            open_monitor(hub, interval=1) as monitor,
            monitor.samples(policy="latest") as samples,
        ):
            await trio.sleep(10)
            assert len(samples) == 3
            monitor.close()
            assert {sample.connection async for sample in samples} == set(hub)


class TestExport:
    async def test_json(
        self,
        hub: Hub,
        make_pair: Pairs,
        nursery: trio.Nursery,
        autojump_clock: trio.testing.MockClock,
    ) -> None:
        """Strict JSON, without NaN, the same as the plain data."""
        slow, silent = Peer(nursery, 0.2), Peer(nursery)
        _, first = make_pair(client=slow.callbacks)
        _, second = make_pair(client=silent.callbacks)
        hub.register(first)
        hub.register(second)
        async with open_monitor(
            hub, interval=1, timeout=0.5, rtt_bound=0.1, loss_bound=0.1
        ) as monitor:
            empty = json.loads(await monitor.to_json(), parse_constant=lambda name: 1 / 0)
            await trio.sleep(20.5)
            plain = await monitor.snapshot()
            text = await monitor.to_json()
        assert empty["total"]["rtt"]["p99"] is None
        loaded = json.loads(text, parse_constant=lambda name: 1 / 0)
        assert loaded | {"time": 0} == plain | {"time": 0}
        assert [one["connection"] for one in loaded["connections"]] == [first.id, second.id]
        assert loaded["connections"][0]["rtt"]["p50"] == pytest.approx(0.2, rel=0.01)
        assert loaded["connections"][1]["smoothed"] is None
        assert loaded["connections"][1]["loss"] == 1.0
        assert loaded["interval"] == 1
        assert loaded["total"]["connections"] == 2
        assert {(alarm["connection"], alarm["kind"]) for alarm in loaded["alarms"]} == {
            (first.id, "rtt"),
            (second.id, "loss"),
        }

    async def test_lets_other_tasks_run(self, hub: Hub, make_pair: Pairs) -> None:
        for _ in range(600):
            hub.register(make_pair()[1])
        async with open_monitor(hub) as monitor:
            await trio.testing.wait_all_tasks_blocked()
            turns = 0

            async def count() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await trio.lowlevel.checkpoint()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(count)
                described = json.loads(await monitor.to_json())
                nursery.cancel_scope.cancel()
            assert turns >= 3
            assert len(described["connections"]) == 600


class TestCost:
    async def test_memory_of_a_connection(
        self, hub: Hub, make_pair: Pairs, autojump_clock: trio.testing.MockClock
    ) -> None:
        """What the monitor keeps, beside the connection's own statistics, whatever the samples."""
        for _ in range(200):
            connection = make_pair()[1]
            hub.register(connection)
            connection.ping_nowait()  # makes its tracker
        await trio.testing.wait_all_tasks_blocked()

        def size_after(fill: Callable[[Monitor], None]) -> float:
            gc.collect()
            tracemalloc.start()
            monitor = Monitor(hub, 10, 5, Alarms(None, None, 0.8))
            monitor._timer.cancel()
            monitor._follow_members()
            fill(monitor)
            size = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
            monitor.close()
            return size / 200

        def ten_thousand_samples(monitor: Monitor) -> None:
            for one in monitor._watched.values():
                for index in range(10_000 // 50):
                    one.add(0.02 * 10 ** (index / 200), 1e-4)  # over a factor of ten

        assert size_after(lambda monitor: None) < 1200
        assert size_after(ten_thousand_samples) < 2500

    async def test_no_task(self, hub: Hub, make_pair: Pairs) -> None:
        for _ in range(50):
            hub.register(make_pair()[1])
        await trio.testing.wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        async with open_monitor(hub, interval=0.5) as monitor, monitor.samples() as samples:
            for _ in range(50):
                await anext(samples)
            assert trio.lowlevel.current_statistics().tasks_living == before


async def test_a_closed_connection_is_not_monitored(hub: Hub, make_pair: Pairs) -> None:
    client, server = make_pair()
    hub.register(server)
    async with open_monitor(hub):
        await trio.testing.wait_all_tasks_blocked()
        client.abort()
        await server.wait_closed()
        with pytest.raises(ConnectionClosed):
            hub.register(server)
    assert server._pong_callbacks == ()
