"""Waits between attempts: a function of the retry and of chance, and of nothing else."""

from __future__ import annotations

import math
import random

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubws.client.backoff import Backoff

times = st.floats(min_value=0, max_value=1e6)


@pytest.fixture(autouse=True)
def _safety_net() -> None:
    """Nothing here waits, so nothing can hang."""


class TestBound:
    def test_doubles_up_to_the_maximum(self) -> None:
        bounds = [Backoff().bound(retry) for retry in range(1, 11)]
        assert bounds == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10, 10]

    def test_of_its_own(self) -> None:
        backoff = Backoff(initial=1, factor=3, maximum=20)
        assert [backoff.bound(retry) for retry in range(1, 6)] == [1, 3, 9, 20, 20]

    def test_may_stay_the_same(self) -> None:
        assert [Backoff(factor=1).bound(retry) for retry in (1, 2, 99)] == [0.1] * 3

    def test_maximum_below_the_initial(self) -> None:
        assert Backoff(initial=5, maximum=2).bound(1) == 2

    @pytest.mark.parametrize("retry", [1_025, 10**9, 10**400])
    def test_any_number_of_retries(self, retry: int) -> None:
        assert Backoff().bound(retry) == 10


class TestDelay:
    def test_first_retry_is_at_once_and_spread(self) -> None:
        assert Backoff().delay(1, 0.0) == 0
        assert Backoff().delay(1, 0.5) == 0.05
        assert Backoff().delay(1, 1.0) == 0.1

    def test_full_jitter(self) -> None:
        """All of the time up to the bound is used, evenly."""
        chance = random.Random(1)
        delays = [Backoff().delay(4, chance.random()) for _ in range(10_000)]
        counts = [sum(n * 0.1 <= delay < (n + 1) * 0.1 for delay in delays) for n in range(8)]
        assert sum(counts) == 10_000
        assert all(1_100 < count < 1_400 for count in counts)

    def test_none_before_the_servers_hint_and_many_spread_behind_it(self) -> None:
        backoff = Backoff(longest_hint=60)
        assert backoff.delay(3, 0.0, hint=30) == 30
        assert backoff.delay(3, 0.5, hint=30) == 30.2
        assert backoff.delay(3, 0.5, hint=1e9) == 60.2

    @given(
        times,
        st.floats(min_value=1, max_value=1e6),
        times,
        st.integers(min_value=1),
        st.floats(min_value=0, max_value=1),
        times,
    )
    def test_in_bounds(
        self, initial: float, factor: float, maximum: float, retry: int, draw: float, hint: float
    ) -> None:
        backoff = Backoff(initial=initial, factor=factor, maximum=maximum)
        assert 0 <= backoff.bound(retry) <= backoff.bound(retry + 1) <= maximum
        waited = min(hint, 3600)
        assert waited <= backoff.delay(retry, draw, hint) <= waited + maximum


class TestValues:
    @pytest.mark.parametrize("name", ["initial", "maximum", "stable_after", "longest_hint"])
    @pytest.mark.parametrize("value", [-0.1, math.inf, math.nan])
    def test_times(self, name: str, value: float) -> None:
        with pytest.raises(
            ValueError, match=rf"{name} must be 0 or more and finite, in seconds, n"
        ):
            Backoff(**{name: value})  # type: ignore[arg-type]

    @pytest.mark.parametrize("value", [0.9, math.inf, math.nan])
    def test_factor(self, value: float) -> None:
        with pytest.raises(ValueError, match=r"factor must be 1 or more and finite, not"):
            Backoff(factor=value)

    @pytest.mark.parametrize("value", [-1, 1.5, True])
    def test_retries(self, value: int) -> None:
        with pytest.raises(ValueError, match=r"retries must be a whole number from 0, or None"):
            Backoff(retries=value)

    def test_frozen(self) -> None:
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            Backoff().initial = 1  # type: ignore[misc]
