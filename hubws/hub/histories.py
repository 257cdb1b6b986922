"""The histories of a hub's topics: made when a topic first has something to keep, bounded in number."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from .history import History, Retention


class Histories:
    """Histories by topic; beyond the limit the one used longest ago is forgotten.

    Forgetting is safe: a history that is made anew has another epoch, so who asks it for an older
    position is told that it is lost.
    """

    __slots__ = ("_histories", "_limit", "_now")

    def __init__(self, limit: int, now: Callable[[], float]) -> None:
        self._limit = limit
        self._now = now
        self._histories: OrderedDict[str, History] = OrderedDict()

    def __len__(self) -> int:
        return len(self._histories)

    def of(self, topic: str, retention: Retention) -> History:
        """The history of a topic."""
        history = self._histories.get(topic)
        if history is None or history.retention != retention:
            history = self._histories[topic] = History(retention, self._now)
            if len(self._histories) > self._limit:
                self._histories.popitem(last=False)
        self._histories.move_to_end(topic)
        return history
