"""Masking keys for what a client sends."""

from __future__ import annotations

import os


class MaskKeys:
    """Unpredictable masking keys (RFC 6455 §10.3), drawn from the system 4 KiB at a time."""

    __slots__ = ("_at", "_random")

    def __init__(self) -> None:
        self._random = b""
        self._at = 0

    def __call__(self) -> bytes:
        """4 bytes that were not given out before."""
        at = self._at
        if at == len(self._random):
            self._random = os.urandom(4096)
            at = 0
        self._at = at + 4
        return self._random[at : at + 4]


next_mask_key = MaskKeys()
