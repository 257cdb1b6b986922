"""What becomes of the link between hubs, for those who watch it."""

from __future__ import annotations

from enum import StrEnum

import attrs


class LinkEventKind(StrEnum):
    """What happened to the link between hubs."""

    LINKED = "linked"
    """The other hubs can be reached, for the first time or again."""
    AWAY = "away"
    """They can't: nothing comes from them, and `while_away` says what is done with what is for them."""
    GAP = "gap"
    """Messages of a topic's history are lost for this hub's members, who see it by their positions."""
    GONE = "gone"
    """Another hub has ended, or was not heard of for too long."""


@attrs.frozen
class LinkEvent:
    """Something happened to the link between hubs."""

    kind: LinkEventKind
    detail: str
    """Why, for people."""
    topic: str | None = None
    """Of a gap."""
    unshared: int = 0
    """With `linked`: broadcasts that other hubs did not get since it was away."""

    @property
    def key(self) -> tuple[LinkEventKind, str | None]:
        """For a `Feed` of policy `latest`."""
        return self.kind, self.topic


@attrs.frozen
class LinkStatistics:
    """Figures of a hub's link since it was opened."""

    is_linked: bool
    """Whether the other hubs can be reached now."""
    lag: float
    """Seconds that the newest heartbeat took from this hub back to itself; NaN before the first."""
    times_away: int
    """How often the link was lost."""
    sent: int
    """Broadcasts given to the backplane."""
    received: int
    """Broadcasts of others, and numbered ones of all."""
    unshared: int
    """Broadcasts that went to this hub's members alone, because it was away."""
    refused: int
    """Broadcasts that raised BackplaneAway."""
    gaps: int
    """How often it was told of one, see `LinkEventKind.GAP`."""
    malformed: int
    """What came and made no sense here; logged."""
