"""Two linked hubs whose Redis goes wrong at random: is anything lost, does anything come twice?

python -m tests.backplane.long --seconds 60 --seed 1
"""

from __future__ import annotations

import argparse
import logging
import random
import time
from collections import Counter

import trio

import hubws
from hubws.hub.backplane import BackplaneAway
from hubws.hub.linked import LinkedHub
from tests.backplane.conftest import backplane_at, linked_hub, running
from tests.backplane.redis_server import RedisServer, Way, open_way
from tests.backplane.test_faults import TOPIC, followers
from tests.connection.pairs import Pairs

PAUSE = 0.002
"""Seconds between messages of one hub."""


async def go_wrong(
    server: RedisServer, way: Way, seconds: float, dice: random.Random
) -> Counter[str]:
    """One fault after another."""
    faults: Counter[str] = Counter()
    end = trio.current_time() + seconds
    while trio.current_time() < end:
        await trio.sleep(0.6 * dice.random())
        fault = dice.choice(["kill", "pause", "swallow"])
        faults[fault] += 1
        if fault == "kill":
            server.kill()
            await trio.sleep(0.3 * dice.random())
            server.start()
        elif fault == "pause":
            with server.paused():
                await trio.sleep(dice.random())
        else:
            way.swallow()
            await trio.sleep(dice.random())
            way.heal()
    return faults


async def run(server: RedisServer, seconds: float, seed: int) -> bool:
    pairs = Pairs("socket")
    near = backplane_at(server.url, durable=True, timeout=0.4)
    accepted: list[int] = []

    async def publish(hub: LinkedHub, number: int) -> None:
        while True:
            try:
                hub.broadcast(str(number), topic=TOPIC)
            except BackplaneAway:
                pass  # it is sent again, as the next one
            else:
                accepted.append(number)
                number += 1
            await trio.sleep(PAUSE)

    async with open_way(server) as way:
        far = backplane_at(way.url, near.prefix, durable=True, timeout=0.4)
        async with (
            linked_hub(near, while_away="refuse") as one,
            linked_hub(far, while_away="refuse") as other,
        ):
            for hub in (one, other):
                hub.configure("news.*", history=hubws.Retention(10**6, bytes=10**9))
            async with followers(pairs, one, other) as both:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(publish, one, 0)
                    nursery.start_soon(publish, other, 10**9)
                    faults = await go_wrong(server, way, seconds, random.Random(seed))
                    nursery.cancel_scope.cancel()
                with trio.move_on_after(30):
                    for follower in both:
                        await follower.until(
                            lambda one=follower: len(one.numbered) >= len(accepted)
                        )
                got = [follower.numbered for follower in both]
                away = [hub.link_statistics().times_away for hub in (one, other)]
    await pairs.end()
    is_right = got[0] == got[1] and sorted(got[0]) == sorted(accepted)
    print(f"seed {seed}: {dict(faults)}, {away} times away, {len(accepted)} messages accepted;")
    print(
        "each came once, in one order" if is_right else f"WRONG: {[len(one) for one in got]} came"
    )
    return is_right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    logging.disable()
    with running(durable=True) as server:
        is_right = trio.run(run, server, arguments.seconds, arguments.seed)
    raise SystemExit(not is_right)


if __name__ == "__main__":
    main()
