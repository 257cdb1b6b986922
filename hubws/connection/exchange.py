"""How requests and their answers look on the wire, unless an application has a form of its own.

    {"request": 7, "body": ...}       answered by one of
    {"response": 7, "body": ...}
    {"response": 7, "error": "..."}

Each is a text message in JSON with these two fields and no others; every other message is none of ours.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeAlias

import attrs

RequestId: TypeAlias = int | str
"""Chosen by who asks, repeated by who answers."""


@attrs.frozen
class Call:
    """A request: somebody waits for an answer with the same id."""

    id: RequestId
    body: Any


@attrs.frozen
class Answer:
    """What a request brought."""

    id: RequestId
    body: Any


@attrs.frozen
class Failure:
    """A request that was not fulfilled, and why, for people to read."""

    id: RequestId
    error: str


Exchange: TypeAlias = Call | Answer | Failure
Encode: TypeAlias = Callable[[Exchange], "str | bytes"]
"""Makes a message. What it raises goes to who sends the request, or closes the connection with 1011."""
Decode: TypeAlias = Callable[["str | bytes"], "Exchange | None"]
"""Reads a message; None for one that is neither a request nor an answer. It must not raise."""


def encode_json(exchange: Exchange) -> str:
    """Encode as above; TypeError or ValueError for a body that JSON can't express."""
    if isinstance(exchange, Call):
        fields = {"request": exchange.id, "body": exchange.body}
    elif isinstance(exchange, Answer):
        fields = {"response": exchange.id, "body": exchange.body}
    else:
        fields = {"response": exchange.id, "error": exchange.error}
    return json.dumps(fields, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def decode_json(message: str | bytes) -> Exchange | None:
    """Decode what looks as above."""
    if not (isinstance(message, str) and message.startswith("{")):
        return None
    try:
        fields = json.loads(message)
    except (ValueError, RecursionError):
        return None
    match fields:
        case {"request": id, "body": body} if _is_id(id) and len(fields) == 2:
            return Call(id, body)
        case {"response": id, "body": body} if _is_id(id) and len(fields) == 2:
            return Answer(id, body)
        case {"response": id, "error": str(error)} if _is_id(id) and len(fields) == 2:
            return Failure(id, error)
    return None


def _is_id(value: object) -> bool:
    return type(value) is int or isinstance(value, str)
