"""The end of a load test, which may come before its time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import trio


class Ending:
    """Ends what waits for its time.

    Attributes:
        has_come: whether it is over before the time.

    """

    def __init__(self) -> None:
        self._scopes: set[trio.CancelScope] = set()
        self.has_come = False

    @contextlib.contextmanager
    def until(self, deadline: float) -> Iterator[trio.CancelScope]:
        """Cancel the block at that time of trio's clock, or when the end comes."""
        with trio.CancelScope(deadline=deadline) as scope:
            if self.has_come:
                scope.cancel()
            self._scopes.add(scope)
            try:
                yield scope
            finally:
                self._scopes.discard(scope)

    def come(self) -> None:
        """Cancel all those blocks, also those to come."""
        self.has_come = True
        for scope in self._scopes:
            scope.cancel()
