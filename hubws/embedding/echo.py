"""Round-trip times by messages, where nobody lets us ping."""

from __future__ import annotations

import json


class Echo:
    """A question and an answer in the place of a ping and its pong; the client has to answer.

    The question is the text `{"hubws": "ping", "payload": "0123..."}`, whose payload is hexadecimal;
    the answer is the same with "pong". In a browser:

        socket.onmessage = ({data}) => {
            if (data.startsWith('{"hubws": "ping"')) socket.send(data.replace("ping", "pong"));
            else ...
        };

    A question passes ahead of messages that wait here, but not of those that wait in the server. The
    application gets neither questions nor answers. Inherit from it for another form.
    """

    PREFIX = '{"hubws": "'

    def question(self, payload: bytes) -> str | bytes:
        """What is sent for a ping."""
        return json.dumps({"hubws": "ping", "payload": payload.hex()})

    def answered(self, message: str | bytes) -> bytes | None:
        """The payload of the ping that a message answers, None for any other message."""
        if not isinstance(message, str) or not message.startswith(self.PREFIX):
            return None
        try:
            said = json.loads(message)
            payload = bytes.fromhex(said["payload"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        return payload if said.get("hubws") == "pong" and len(payload) <= 125 else None
