"""Opening a hub."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator
from typing import Any, Literal

from ..connection.background import open_background
from ..connection.callbacks import PongCallback
from ..connection.queue import Policy
from .backplane import Backplane
from .hub import Hub, MayJoin, MayPublish
from .settings import KeyFunction, check_policy


@contextlib.asynccontextmanager
async def open_hub(
    *,
    policy: Policy | str = Policy.DISCONNECT,
    key: KeyFunction | None = None,
    ping_interval: float | None = None,
    on_pong: PongCallback | None = None,
    may_join: MayJoin | None = None,
    may_publish: MayPublish | None = None,
    max_histories: int = 1000,
    backplane: Backplane | None = None,
    while_away: Literal["local", "refuse"] = "local",
) -> AsyncIterator[Hub]:
    """Open a hub for as long as the block runs.

    Args:
        policy: what a broadcast does with a member whose outbox is full: `disconnect` (close it with
            1013), `drop_oldest`, `drop_newest` or `latest`.
        key: for `latest`: a function of the message that says what it is about.
        ping_interval: ping all members every so many seconds; None: only their keepalive does.
        on_pong: called with connection, payload and round-trip time in seconds (None for a pong that
            answers no ping) at every pong of a member.
        may_join: called with connection and topic before it joins; false makes that NotAllowed.
        may_publish: called with connection, topic and message by `Hub.publish`, likewise.
        max_histories: how many topics have a history at once, where `Hub.configure` asks for it;
            beyond that the one used longest ago is forgotten.
        backplane: links this hub with others, here or in other processes: it is a `LinkedHub` then.
        while_away: what `broadcast` does while the backplane can't reach them: `local`, serve this
            hub's own members, or `refuse`, raise BackplaneAway.

    At the end of the block the hub's tasks are cancelled and its members let go; their connections
    go on, for they belong to whoever serves them.

    """
    chosen = check_policy(policy)
    if while_away not in {"local", "refuse"}:
        raise ValueError(f"while_away is 'local' or 'refuse', not {while_away!r}")
    if type(max_histories) is not int or max_histories < 1:
        raise ValueError(f"max_histories must be a whole number from 1, not {max_histories!r}")
    if ping_interval is not None and not 0 < ping_interval < math.inf:
        raise ValueError(f"ping_interval must be over 0 seconds, not {ping_interval!r}")
    options: dict[str, Any] = {
        "key": key,
        "on_pong": on_pong,
        "may_join": may_join,
        "may_publish": may_publish,
        "max_histories": max_histories,
    }
    async with open_background() as nursery:
        if backplane is None:
            hub = Hub(nursery, chosen, **options)
        else:
            from .linked import LinkedHub  # noqa: PLC0415 - most programs have but one hub

            hub = linked = LinkedHub(nursery, chosen, while_away=while_away, **options)
            await nursery.start(linked.run_link, backplane)
        if ping_interval is not None:
            nursery.start_soon(hub.ping_forever, ping_interval)
        try:
            yield hub
        finally:
            hub.close()
