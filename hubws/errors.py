"""Every exception that hubws raises.

```
HubwsError
├── ProtocolError            a rule of RFC 6455 was broken; carries the close code it calls for
│   ├── LocalProtocolError   by this application: nothing was sent (also a ValueError)
│   └── RemoteProtocolError  by the peer: the connection fails with that close code
├── HandshakeError           the opening handshake did not succeed
│   ├── UpgradeRefused       by this server; carries the answer that the client gets
│   ├── HandshakeRefused     the server answered, but not with 101; carries its answer
│   ├── ProxyError           a proxy did not open the way to the server; carries its answer
│   └── HandshakeTimeout     it took longer than its time limit (also a TimeoutError)
├── PositionLost             what came after a position can't be told without a gap
├── RequestFailed            a request was not fulfilled, in the words of who serves it
├── BackplaneAway            the other hubs can't be reached; nothing was done
├── NotAllowed               a hub's rules forbid joining or publishing (also a PermissionError)
└── ConnectionClosed         the connection has ended; carries how
```

Beside these, what Python and trio call by name keeps that name: `TypeError` for a message that is
neither text nor bytes, `trio.WouldBlock` for a `*_nowait` that would have to wait, `OSError` for a
network that fails while dialling or listening.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .protocol.http import Response
    from .protocol.state import Closure


class HubwsError(Exception):
    """What all errors of hubws have in common."""


class ProtocolError(HubwsError):
    """A rule of RFC 6455 was broken.

    Attributes: `code`, the close code that the rule's breach calls for (RFC 6455 §7.4.1).
    """

    def __init__(self, message: str, code: int = 1002) -> None:
        super().__init__(message)
        self.code = code


class LocalProtocolError(ProtocolError, ValueError):
    """What the application asked for would break the protocol; nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol."""


class HandshakeError(HubwsError):
    """The opening handshake did not succeed (RFC 6455 §4)."""


class UpgradeRefused(HandshakeError):
    """This server does not take a request as an opening handshake (RFC 6455 §4.2).

    Attributes: `response`, what the client is answered.
    """

    def __init__(self, response: Response) -> None:
        super().__init__(f"{response.status}: {response.text}")
        self.response = response


class HandshakeRefused(HandshakeError):
    """The server answered the upgrade with no 101, or with a wrong one (RFC 6455 §4.1).

    Attributes: `response`, with `status`, `headers` and the start of the `body`.
    """

    def __init__(self, message: str, response: Response) -> None:
        super().__init__(message)
        self.response = response


class ProxyError(HandshakeError):
    """A proxy did not open the way to the server (RFC 9110 §9.3.6).

    Attributes: `response`, what an HTTP proxy answered to CONNECT; None if it did not, or by SOCKS.
    """

    def __init__(self, message: str, response: Response | None = None) -> None:
        super().__init__(message)
        self.response = response


class HandshakeTimeout(HandshakeError, TimeoutError):
    """The opening handshake took longer than its time limit."""


class RequestFailed(HubwsError):
    """A request was not fulfilled: raised by who serves it, and with the same words by who asked."""


class NotAllowed(HubwsError, PermissionError):
    """A hub's rules forbid a connection to join a topic, or to publish to it; nothing was done."""


class ConnectionClosed(HubwsError):
    """The connection has ended, or is about to: nothing more can be sent or received.

    Attributes: `closure` tells how (see `Closure`); `code` and `reason` are its close code and
    reason, 1006 when the connection ended without a close frame (RFC 6455 §7.1.5).
    """

    def __init__(self, closure: Closure) -> None:
        super().__init__(closure)
        self.closure = closure
        self.code = closure.code
        self.reason = closure.reason

    def __str__(self) -> str:
        return str(self.closure)  # made when asked for: every connection ends with one of these
