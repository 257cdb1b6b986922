"""A user of the chat example: comes in, says who it is, speaks every 1 to 3 s, leaves after 10 s.

    python examples/broadcast/server.py --port 8080
    hubws bench ws://127.0.0.1:8080/ --scenario examples/scenarios/chat.py --stage 500:30s

Ten users share a room, so that each hears what ten say and not what all of them say.
"""

import json

import trio

from hubws.bench.scenario import Session, User

STAYS = 10  # seconds
CLOSES_AFTER = 3  # seconds more, if the server has not closed by then
MINIMUM_ITERATION = 15  # seconds until the same user comes again

PEOPLE_IN_A_ROOM = 10


async def scenario(user: User) -> None:
    """Be one user, from coming in to leaving."""
    room = f"/room-{user.number // PEOPLE_IN_A_ROOM}"
    name = f"Croc {user.number}"
    interval = user.random.uniform(1, 3)
    async with user.connect(room) as session, trio.open_nursery() as nursery:
        nursery.start_soon(listen, user, session, name)
        await session.send(json.dumps({"event": "SET_NAME", "new_name": name}))
        with trio.move_on_after(STAYS):
            while True:
                await trio.sleep(interval)
                await session.send(json.dumps({"event": "SAY", "message": f"it is {interval}"}))
        await session.send(json.dumps({"event": "LEAVE"}))
        with trio.move_on_after(CLOSES_AFTER):
            await session.connection.wait_closed()
        await session.aclose()


async def listen(user: User, session: Session, name: str) -> None:
    """Hear what is said in the room until the connection is closed."""
    speakers = set()
    async for message in session:
        event = json.loads(message)
        user.check("is a chat message", event["event"] == "CHAT_MSG")
        speakers.add(event.get("user"))
    user.check("heard itself", name in speakers)
