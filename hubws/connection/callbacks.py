"""The callback style: plain functions, called inline in the order of the wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import attrs

from ..protocol.frames import Frame

if TYPE_CHECKING:
    from .connection import Connection

PongCallback: TypeAlias = "Callable[[Connection, bytes, float | None], object]"
"""Called with the connection, the pong's payload and the round-trip time in seconds, None when the
pong answers no ping."""


@attrs.frozen(kw_only=True)
class Callbacks:
    """Functions to call as things happen on a connection. They are synchronous and must be quick.

    One that raises closes its connection with 1011 and is logged; `ConnectionClosed` is no error.
    What they send goes out when they have returned, all of it together.
    """

    on_open: Callable[[Connection], object] | None = None
    """The opening handshake is done."""
    on_message: Callable[[Connection, str | bytes], object] | None = None
    """A message came. Without this function, messages wait for `receive`."""
    on_ping: Callable[[Connection, bytes], object] | None = None
    """A ping came; it is answered after this."""
    on_pong: PongCallback | None = None
    """A pong came."""
    on_close: Callable[[Connection], object] | None = None
    """The connection has ended; `connection.closure` tells how. The last call."""
    on_error: Callable[[Connection, Exception], object] | None = None
    """The peer broke the protocol, the network failed, or a function raised."""
    on_frame: Callable[[Connection, Frame], object] | None = None
    """Every frame, before anything else is done with it, once all of it is here. If it returns
    something true, the frame counts as handled: nothing else is done with it, except that a close
    frame still begins the closing handshake. Costs several times the time of `on_message`."""


NO_CALLBACKS = Callbacks()
