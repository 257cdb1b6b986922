"""Document 000: what a reverse proxy adds to a message's delay."""

from __future__ import annotations

import attrs

from ..messages import Template
from ..plan import Plan
from ..result import in_words
from .processes import started
from .section import Row, Scale, Section, checks, steady, times


async def proxy_delay(scale: Scale) -> Section:
    """100 clients that send their clock every 100 ms: to the backend, and through the proxy."""
    plan = Plan(
        urls=("ws://127.0.0.1/",),
        stages=steady(100, scale.seconds(20)),
        rate=10,
        message=Template("{time}"),
    )
    async with started("callbacks") as backend:
        url = backend.url + "echo"
        direct = await scale.load(attrs.evolve(plan, urls=(url,)))
        async with started("proxy", backend=backend.url.rstrip("/")) as proxy:
            before = proxy.processor
            through = await scale.load(attrs.evolve(plan, urls=(proxy.url + "echo",)))
            own, kernel = (now - then for now, then in zip(proxy.processor, before, strict=True))
    busy = own + kernel
    share = f"{kernel / busy:.1%}" if busy else "none"
    return Section(
        "Delay, direct and through a reverse proxy",
        "000, fasthttp-reverse-proxy",
        '"100 Client, each client send 1 msg per 100 millsecond": each sends its clock, and the mean '
        "delay of the echo is printed every 2 s, once direct and once through the proxy. The "
        "document gives no delay, only the proxy's profile; hardware not named (kevent: macOS).",
        "100 connections, 10 messages a second each, 13 bytes, counted from the time each was "
        "due; backend, proxy and clients are a process each.",
        [
            Row("delay, direct", "not given", times(direct)),
            Row("delay, through the proxy", "not given", times(through)),
            Row(
                "added by the proxy (median)",
                "not given",
                in_words(
                    through.total.trend("ws_rtt").percentile(50)
                    - direct.total.trend("ws_rtt").percentile(50)
                ),
            ),
            Row(
                "the proxy's processor time",
                "2.31s 55.53% syscall.syscall; the duration of the profile is not given",
                f"{busy:.2f} s in {through.seconds:.1f} s, {share} of it in the kernel",
            ),
            Row("checks", "not given", checks(through)),
        ],
    )
