"""The states of a connection and how it moves between them (RFC 6455 §4.1, §7.1).

```
              opened               close sent or received
CONNECTING ───────────▶ OPEN ──────────────────────────────▶ CLOSING ──┐ the other close frame
     │                    │                                     │  ▲────┘
     │ stream ended       │ stream ended           stream ended │
     └────────────────────┴─────────────────┬───────────────────┘
                                            ▼
                                         CLOSED
```

The closing handshake is over when both close frames have gone; the connection is CLOSED when the
byte stream under it has ended.
"""

from __future__ import annotations

import re
from enum import Enum

import attrs

from .frames import CloseCode


class State(Enum):
    """Where a connection is in its life (RFC 6455 §4.1, §7.1)."""

    CONNECTING = "connecting"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"

    __hash__ = object.__hash__  # Enum's own hashes the name, in Python


class Change(Enum):
    """What moves a connection from one state to the next."""

    OPENED = "opened"
    CLOSE_SENT = "close sent"
    CLOSE_RECEIVED = "close received"
    STREAM_ENDED = "stream ended"

    __hash__ = object.__hash__


TRANSITIONS: dict[tuple[State, Change], State] = {
    (State.CONNECTING, Change.OPENED): State.OPEN,
    (State.CONNECTING, Change.STREAM_ENDED): State.CLOSED,
    (State.OPEN, Change.CLOSE_SENT): State.CLOSING,
    (State.OPEN, Change.CLOSE_RECEIVED): State.CLOSING,
    (State.OPEN, Change.STREAM_ENDED): State.CLOSED,
    (State.CLOSING, Change.CLOSE_SENT): State.CLOSING,
    (State.CLOSING, Change.CLOSE_RECEIVED): State.CLOSING,
    (State.CLOSING, Change.STREAM_ENDED): State.CLOSED,
    (State.CLOSED, Change.STREAM_ENDED): State.CLOSED,
}
"""What is not in this table can't happen; a KeyError here is a bug in hubws."""


@attrs.frozen
class Close:
    """A close frame: its code and reason; 1005 when it carried no code (RFC 6455 §5.5.1)."""

    code: int
    reason: str = ""


RETRY_AFTER = re.compile(r"(?:.*; )?retry-after=([0-9]{1,9}(?:\.[0-9]{1,9})?)", re.DOTALL)
"""How a server that drains ends its close reason."""


@attrs.frozen
class Closure:
    """How a connection ended (RFC 6455 §7.1.4, §7.1.5).

    `received` and `sent` are the close frames, None where there was none; `error` is what broke it,
    when something did; `undelivered` counts messages that were accepted for sending and never left,
    `unreceived` those that came after this side closed, when nobody took any for a second.
    """

    received: Close | None = None
    sent: Close | None = None
    error: BaseException | None = None
    undelivered: int = 0
    unreceived: int = 0

    @property
    def code(self) -> int:
        """The close code: that of the peer's close frame, else 1006 (RFC 6455 §7.1.5)."""
        return CloseCode.ABNORMAL if self.received is None else self.received.code

    @property
    def reason(self) -> str:
        """The close reason of the peer's close frame, else what ended the connection."""
        if self.received is not None:
            return self.received.reason
        return "" if self.error is None else str(self.error)

    @property
    def retry_after(self) -> float | None:
        """When the peer says to come back, in seconds: by a close reason "...; retry-after=2.5"."""
        match = RETRY_AFTER.fullmatch(self.reason) if self.received is not None else None
        return None if match is None else float(match[1])

    @property
    def clean(self) -> bool:
        """Whether the closing handshake was completed and nothing accepted was left behind."""
        return self.received is not None and self.sent is not None and not self.undelivered

    @property
    def normal(self) -> bool:
        """Whether it is clean, all that came could be received, and neither side meant an error."""
        return (
            self.clean
            and self.error is None
            and not self.unreceived
            and self.code in (CloseCode.NORMAL, CloseCode.GOING_AWAY, CloseCode.NO_STATUS)
        )

    def __str__(self) -> str:
        parts = []
        if self.received is not None:
            parts.append(f"the peer closed with {_words(self.received)}")
        if self.sent is not None:
            parts.append(f"this side closed with {_words(self.sent)}")
        if self.received is None:
            parts.append("no close frame came")
        if self.error is not None:
            parts.append(f"{type(self.error).__name__}: {self.error}")
        if self.undelivered:
            parts.append(f"{self.undelivered} messages were not delivered")
        if self.unreceived:
            parts.append(f"{self.unreceived} messages came after closing, and nobody took them")
        return "; ".join(parts)


def _words(close: Close) -> str:
    try:
        name = CloseCode(close.code).name.lower().replace("_", " ")
    except ValueError:
        name = "application" if close.code >= 3000 else "unknown"
    return f"{close.code} ({name})" + (f": {close.reason}" if close.reason else "")
