"""A message for many: encoded once for each form that it takes on the wire."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeVar

from ..protocol.codec import encode_frame
from ..protocol.deflate import Deflater
from ..protocol.endpoint import payload_of
from ..protocol.frames import FIN, RSV1, Payload
from .queue import Droppable, Policy

MAX_FRAMES = 64
"""The most forms, policies and keys for which a message keeps its frame."""


AnyFrame = TypeVar("AnyFrame", bound=Droppable)


class Shared(Droppable):
    """The plain frame of a message for many; an outbox that takes it otherwise finds it in `source`."""

    source: Prepared


class Prepared:
    """A message that can be broadcast, also again and again, at the cost of encoding it once.

    It keeps a form for each way in which the members' connections take it: plain, or compressed for
    the window that was agreed on (RFC 7692 §7.1.2), which is nearly always one and the same. A
    compressed form refers to no other message, so all can share it.

    Args:
        message: str for text, bytes-like for binary, of which a copy is kept. TypeError and
            LocalProtocolError for what is no message.

    """

    __slots__ = ("_compressed", "_frames", "_opcode", "_payload", "message")

    def __init__(self, message: str | Payload) -> None:
        self._opcode, self._payload = payload_of(message)
        self.message: str | bytes = message if isinstance(message, str) else self._payload
        self._compressed: dict[tuple[int, ...], bytes | None] = {}
        self._frames: dict[object, Droppable] = {}

    def __repr__(self) -> str:
        return f"<Prepared {self.message!r:.60}>"

    def frame(self, policy: Policy, key: Hashable) -> Shared:
        """The frame to offer to all connections, whatever form each of them takes."""
        name = (policy, key)
        frame = self._frames.get(name)
        if frame is None:
            encoded = encode_frame(FIN | self._opcode, self._payload, None)
            frame = self._keep(name, Shared.make(encoded, policy, key, self))
        assert isinstance(frame, Shared)
        return frame

    def compressed(self, shared: Shared, deflater: Deflater) -> Droppable:
        """The frame that takes the place of a shared one; the same where that would be larger."""
        name = (shared.policy, shared.key, deflater.form)
        frame = self._frames.get(name)
        if frame is None:
            payload = self._compress(deflater)
            if payload is None:
                frame = shared
            else:
                encoded = encode_frame(FIN | RSV1 | self._opcode, payload, None)
                frame = Droppable.make(encoded, shared.policy, shared.key, self)
            self._keep(name, frame)
        return frame

    def _keep(self, name: object, frame: AnyFrame) -> AnyFrame:
        if len(self._frames) >= MAX_FRAMES:
            self._frames.clear()
        self._frames[name] = frame
        return frame

    def _compress(self, deflater: Deflater) -> bytes | None:
        form = deflater.form
        if form not in self._compressed:
            self._compressed[form] = deflater.compress_alone(self._payload)
        return self._compressed[form]
