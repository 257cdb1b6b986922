"""The WebSocket of a Quart-Trio app, as ASGI has it."""

from __future__ import annotations

from typing import Any

from .asgi import Message, Receive, Scope, Send


def asgi_of(websocket: Any) -> tuple[Scope, Receive, Send]:
    """What ASGI calls applications with, made of Quart's `websocket`; for `accept_asgi`.

        @app.websocket("/")
        async def talk():
            triple = hubws.embedding.asgi_of(quart.websocket)
            async with hubws.embedding.accept_asgi(*triple) as connection:
                async for message in connection:
                    await connection.send(message)

    Quart cancels the function when the peer has gone, and can't receive empty binary messages.
    """
    quart = websocket._get_current_object()  # what the name stands for in this task only
    is_asked = False

    async def receive() -> Message:
        nonlocal is_asked
        if not is_asked:
            is_asked = True
            return {"type": "websocket.connect"}
        data = await quart.receive()
        kind = "text" if isinstance(data, str) else "bytes"
        return {"type": "websocket.receive", kind: data}

    async def send(message: Message) -> None:
        match message["type"]:
            case "websocket.accept":
                headers = [(name.decode(), value.decode()) for name, value in message["headers"]]
                await quart.accept(headers, message["subprotocol"])
            case "websocket.send":
                await quart.send(message["text"] if "text" in message else message["bytes"])
            case _:
                await quart.close(message["code"], message.get("reason", ""))

    return {**quart.scope, "extensions": {}}, receive, send
