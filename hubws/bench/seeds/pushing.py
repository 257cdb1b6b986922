"""Document 004: messages that one client receives in a second."""

from __future__ import annotations

from ..plan import Answers, Plan
from .processes import started
from .section import Row, Scale, Section, full_seconds, steady


async def pushed(scale: Scale) -> Section:
    """push_server and echo_client -m."""
    async with started("push") as server:
        result = await scale.load(
            Plan(
                urls=(server.url,),
                stages=steady(1, scale.seconds(10)),
                answers=Answers.NONE,
            )
        )
    rates = [one.received for one in full_seconds(result)]
    return Section(
        "Push and receive",
        "004, IXWebSocket",
        "`ws push_server -q --send_msg 'yo'` and `ws echo_client -m`; MacBook Pro from 2015.",
        'one connection to a server that sends "yo" as fast as it is read; a process each.',
        [
            Row(
                "messages received a second",
                "207438 to 216960 in its full seconds",
                f"{min(rates):,.0f} to {max(rates):,.0f}, {result.rate('ws_msgs_received'):,.0f} "
                "on average",
            )
        ],
    )
