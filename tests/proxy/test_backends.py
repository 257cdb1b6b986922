"""Which backend is next, and which is left alone."""

from __future__ import annotations

from collections import Counter

import pytest

from hubws.errors import LocalProtocolError
from hubws.proxy import Backend, Balance
from hubws.proxy.backends import MAX_RETRY, Pool, backoff


def pool(*weights: float, balance: Balance = Balance.ROUND_ROBIN) -> Pool:
    backends = [Backend(f"ws://b{n}:1", weight=weight) for n, weight in enumerate(weights)]
    return Pool(backends, balance)


def names(pool: Pool, count: int, key: bytes = b"") -> str:
    """The numbers of the next backends."""
    chosen = [pool.choose(key) for _ in range(count)]
    return "".join("-" if one is None else one.backend.address.host[1:] for one in chosen)


class TestBalance:
    async def test_in_turns(self):
        assert names(pool(1, 1, 1), 7) == "0120120"

    async def test_weights_are_spread(self):
        assert names(pool(3, 1), 8) == "00100010"
        assert Counter(names(pool(5, 2.5, 0.5), 160)) == {"0": 100, "1": 50, "2": 10}

    async def test_fewest_connections_for_the_weight(self):
        three = pool(1, 1, 2, balance=Balance.LEAST_CONNECTIONS)
        for upstream, connections in zip(three.upstreams, (1, 2, 1), strict=True):
            upstream.connections = connections
        assert names(three, 2) == "22"
        three.upstreams[2].connections = 3
        assert names(three, 2) == "00"

    async def test_ties_take_turns(self):
        assert names(pool(1, 1, 1, balance=Balance.LEAST_CONNECTIONS), 6) == "012012"

    async def test_a_key_keeps_its_backend_and_gets_it_back(self):
        many = pool(1, 1, 1, 1, balance=Balance.HASH)
        keys = [str(number).encode() for number in range(1000)]
        before = {key: names(many, 1, key) for key in keys}
        many.upstreams[2].is_up = False
        for key, name in before.items():
            now = names(many, 1, key)
            assert now != "2"
            assert name in (now, "2")  # nobody else moves
        many.upstreams[2].is_up = True
        assert {key: names(many, 1, key) for key in keys} == before
        assert all(150 < count < 350 for count in Counter(before.values()).values())

    async def test_weights_count_for_keys(self):
        two = pool(3, 1, balance=Balance.HASH)
        counts = Counter(names(two, 1, str(number).encode()) for number in range(4000))
        assert 2.5 < counts["0"] / counts["1"] < 3.5

    async def test_those_that_were_tried_are_left_out(self):
        two = pool(1, 1)
        first = two.choose(b"")
        assert first is not None
        second = two.choose(b"", [first])
        assert second is not None
        assert second is not first
        assert two.choose(b"", [first, second]) is None

    async def test_full_ones_are_left_out(self):
        backends = [Backend("ws://b0", max_connections=2), Backend("ws://b1")]
        two = Pool(backends, Balance.ROUND_ROBIN)
        two.upstreams[0].connections = 2
        assert names(two, 3) == "111"
        two.upstreams[0].released()
        assert "0" in names(two, 2)


class TestPassiveHealth:
    async def test_who_can_not_be_reached_is_left_alone_longer_each_time(self, autojump_clock):
        two = pool(1, 1)
        down = two.upstreams[0]
        for seconds in (1, 2, 4, 8, 16, 32, 60, 60):
            down.unreachable()
            assert names(two, 2) == "11"
            autojump_clock.jump(seconds * 0.74)
            assert not down.is_healthy
            autojump_clock.jump(seconds * 0.52)
            assert down.is_healthy
        down.unreachable()
        down.answered()
        assert down.is_healthy
        down.unreachable()
        autojump_clock.jump(1.26)
        assert down.is_healthy

    def test_the_time_is_bounded(self):
        assert backoff(10_000) <= MAX_RETRY * 1.25

    async def test_when_nobody_is_left(self):
        one = pool(1)
        one.upstreams[0].unreachable()
        assert one.choose(b"") is None
        response = one.refusal().response
        assert (response.status, response.text) == (503, "no backend is healthy")
        assert response.headers["Retry-After"] == "1"


class TestArguments:
    @pytest.mark.parametrize("weight", [0, -1, float("inf"), float("nan")])
    def test_weight(self, weight: float):
        with pytest.raises(ValueError, match="weight must be over 0"):
            Backend("ws://a", weight=weight)

    @pytest.mark.parametrize("number", [0, 1.5, True])
    def test_max_connections(self, number: int):
        with pytest.raises(ValueError, match="max_connections must be a whole number"):
            Backend("ws://a", max_connections=number)

    @pytest.mark.parametrize(
        ("url", "why"),
        [
            ("http://a", "must begin with ws://"),
            ("ws://a/path", "no path, '/path'"),
            ("ws://user:secret@a", "a backend's URL has no user"),
        ],
    )
    def test_url(self, url: str, why: str):
        with pytest.raises((ValueError, LocalProtocolError), match=why) as error:
            Backend(url)
        assert "secret" not in str(error.value)
