"""The system calls that run: `_native` (C) or `_syscalls` (Python), one signature, chosen at import."""

import select
from typing import TYPE_CHECKING

from ..native import choose

HAS_EPOLL = hasattr(select, "epoll")
"""Where it is missing, plain sockets take the way of any other stream."""

if TYPE_CHECKING:
    from ._syscalls import ready, receive_into, send, send_many
else:
    _chosen = choose(
        "hubws.transport._native" if HAS_EPOLL else "hubws.transport._syscalls",
        "hubws.transport._syscalls",
    )
    receive_into = _chosen.receive_into
    send = _chosen.send
    send_many = _chosen.send_many
    ready = _chosen.ready

__all__ = ["HAS_EPOLL", "ready", "receive_into", "send", "send_many"]
