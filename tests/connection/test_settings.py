"""Settings: what can be set, and what is refused before anything is opened."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest

from hubws import Policy, Settings


def test_never_is_none() -> None:
    assert Settings(keepalive_interval=None, write_timeout=None).keepalive_interval == math.inf


def test_policies_by_name() -> None:
    assert Settings(policy="drop_oldest").policy is Policy.DROP_OLDEST


@pytest.mark.parametrize("name", ["max_message_size", "inbox_messages", "outbox_bytes"])
@pytest.mark.parametrize("value", [0, -1, math.inf, 1.5, "1", None, True, sys.maxsize + 1])
def test_counts(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a whole number"):
        Settings(**{name: value})


@pytest.mark.parametrize("value", [0, -1, math.nan])
def test_times(value: float) -> None:
    with pytest.raises(ValueError, match="close_timeout must be over 0"):
        Settings(close_timeout=value)


def test_unknown_policies() -> None:
    with pytest.raises(ValueError, match="'newest' is not a policy; it must be one of block"):
        Settings(policy="newest")
