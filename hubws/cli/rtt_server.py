"""`hubws rtt-server`."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import trio
from cyclopts import Parameter

from ..connection.connection import Connection
from ..hub.monitor import open_monitor
from ..hub.open import open_hub
from ..pages.rtt import RttPage
from ..pages.serve import serve_pages
from ..server.server import Server
from .dashboard import DashboardOptions
from .options import ServerOptions
from .ping import in_ms
from .running import Run, Status, run
from .serving import attend

EXAMPLES = """
hubws rtt-server  # then open http://127.0.0.1:8008/ and connect clients
hubws rtt-server --interval 0.5 --rtt-bound 0.2 --loss-bound 0.1
"""

_NO_OPTIONS = ServerOptions()
_NO_DASHBOARD = DashboardOptions()


def rtt_server(
    *,
    interval: Annotated[float, Parameter(name=["--interval", "-i"])] = 2.0,
    wait: Annotated[float, Parameter(name=["--wait", "-W"])] = 5.0,
    rtt_bound: float | None = None,
    loss_bound: float | None = None,
    page: DashboardOptions = _NO_DASHBOARD,
    options: ServerOptions = _NO_OPTIONS,
) -> int:
    """Measure the round-trip times of all clients, and show them on a page.

    Any WebSocket client will do, since all answer pings.

    Args:
        interval: seconds between two pings of a client.
        wait: a ping that is not answered within so many seconds is lost.
        rtt_bound: an alarm is raised for a client whose smoothed time is over so many seconds.
        loss_bound: likewise for the share, 0 to 1, of its last 16 pings that were lost.

    """
    for name, seconds in [("--interval", interval), ("--wait", wait), ("--rtt-bound", rtt_bound)]:
        if seconds is not None and not 0 < seconds < float("inf"):
            raise ValueError(f"{name} must be over 0 seconds, not {seconds:g}")
    if loss_bound is not None and not 0 <= loss_bound <= 1:
        raise ValueError(f"--loss-bound must be a share from 0 to 1, not {loss_bound:g}")
    page.check()
    bounds = {
        "interval": interval,
        "timeout": wait,
        "rtt_bound": rtt_bound,
        "loss_bound": loss_bound,
    }
    return run(partial(_measure, bounds, page, options), options)


async def _measure(
    bounds: dict[str, Any], page: DashboardOptions, options: ServerOptions, run: Run
) -> Status:
    async with open_hub() as hub, open_monitor(hub, **bounds) as monitor:

        async def stay(connection: Connection) -> None:
            async with hub.member(connection):
                async for _ in connection:
                    pass

        async def listen(task_status: trio.TaskStatus[Server]) -> None:
            await serve_pages(
                [RttPage(monitor), *page.pages(hub)],
                stay,
                task_status=page.telling(options, run, task_status),
                **options.arguments(),
            )

        server = await attend(listen, options, run)
        total = monitor.total
    times = total.rtt
    if times.count:
        percentiles = "/".join(in_ms(times.percentile(percent)) for percent in (50, 90, 99))
        run.output.note(f"{total.pings} pings, {total.lost} lost, p50/p90/p99 {percentiles} ms")
    run.output.record(
        event="summary",
        connections=server.statistics().accepted,
        pings=total.pings,
        lost=total.lost,
        clean=server.clean,
        **times.to_dict(),
    )
    return Status.DONE
