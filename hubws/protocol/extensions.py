"""The header Sec-WebSocket-Extensions: a list of extensions with their parameters (RFC 6455 §9.1).

    permessage-deflate; client_max_window_bits; server_max_window_bits=10, x-other; name="value"

Reading takes time in proportion to its length, whatever it says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import attrs

from .http import is_token

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 - of RFC 9110 §5.6.2
_NAME = re.compile(rf"[ \t]*({_TOKEN})[ \t]*")
_PARAMETER = re.compile(
    rf';[ \t]*({_TOKEN})[ \t]*(?:=[ \t]*(?:({_TOKEN})|"((?:[^"\\]|\\.)*)")[ \t]*)?'
)
_END = re.compile(r"[ \t]*(?:,|$)")
_ESCAPED = re.compile(r"\\(.)")


@attrs.frozen
class Extension:
    """An extension as it is offered or agreed on: its name, and parameters with or without values."""

    name: str
    parameters: tuple[tuple[str, str | None], ...] = ()

    def __str__(self) -> str:
        words = [self.name]
        words += [name if value is None else f"{name}={value}" for name, value in self.parameters]
        return "; ".join(words)


def parse_extensions(values: Iterable[str]) -> list[Extension]:
    """Read all lines of the header; ValueError where one does not keep to the RFC's grammar."""
    text = ",".join(values)
    extensions = []
    at = 0
    while at < len(text):
        if name := _NAME.match(text, at):
            at = name.end()
            parameters = []
            while parameter := _PARAMETER.match(text, at):
                at = parameter.end()
                parameters.append((parameter[1], _value(parameter)))
            extensions.append(Extension(name[1], tuple(parameters)))
        end = _END.match(text, at)  # nothing between two commas is no member (RFC 9110 §5.6.1)
        if end is None:
            raise ValueError(f"{text[at : at + 40]!r} can't stand in a list of extensions")
        at = end.end()
    return extensions


def _value(parameter: re.Match[str]) -> str | None:
    """The value of a parameter; what is quoted must be a token too, once it is read (§9.1)."""
    if parameter[3] is None:
        return parameter[2]
    value = _ESCAPED.sub(r"\1", parameter[3])
    if not is_token(value):
        raise ValueError(
            f"{value[:40]!r} is no value of an extension's parameter: it must be a token"
        )
    return value
