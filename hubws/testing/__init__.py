"""What the tests of applications use: servers and clients in memory, and peers that do as told.

Nothing here opens a socket, so that everything runs under trio's `autojump_clock`, where keepalive,
timeouts and reconnection take no time. `hubws.testing.fixtures` has the same as pytest fixtures.
"""

from __future__ import annotations

from .memory import MemoryListener, MemoryServer, open_pair, open_server
from .peer import ScriptedPeer
from .plan import Fault, Kind, Plan
from .stream import FaultyStream

__all__ = [
    "Fault",
    "FaultyStream",
    "Kind",
    "MemoryListener",
    "MemoryServer",
    "Plan",
    "ScriptedPeer",
    "open_pair",
    "open_server",
]
