"""`hubws chat-server`."""

from __future__ import annotations

from functools import partial

import trio

from ..hub.history import Retention
from ..hub.open import open_hub
from ..pages.chat import LAST, Chat
from ..pages.serve import serve_pages
from ..server.server import Server
from .dashboard import DashboardOptions
from .options import ServerOptions
from .running import Run, Status, run
from .serving import attend

EXAMPLES = """
hubws chat-server  # then open http://127.0.0.1:8008/ in two windows
hubws chat-server --dashboard /dashboard/ --dashboard-password "open sesame"
"""

_NO_OPTIONS = ServerOptions()
_NO_DASHBOARD = DashboardOptions()


def chat_server(
    *,
    history: int = LAST.messages,
    page: DashboardOptions = _NO_DASHBOARD,
    options: ServerOptions = _NO_OPTIONS,
) -> int:
    """Serve a chat: a page, rooms, names, who is here, and what was said before.

    Args:
        history: how many messages of each room are kept for those who come.

    """
    if history < 1:
        raise ValueError(f"--history must be 1 message or more, not {history}")
    page.check()
    return run(partial(_chat, history, page, options), options)


async def _chat(history: int, page: DashboardOptions, options: ServerOptions, run: Run) -> Status:
    async with open_hub() as hub:
        chat = Chat(hub, history=Retention(messages=history, bytes=LAST.bytes))

        async def listen(task_status: trio.TaskStatus[Server]) -> None:
            await serve_pages(
                page.pages(hub),
                chat.talk,
                on_request=chat.answer,
                task_status=page.telling(options, run, task_status),
                **options.arguments(),
            )

        server = await attend(listen, options, run)
    accepted = server.statistics().accepted
    run.output.note(f"{accepted} connections, {chat.messages} messages")
    run.output.record(
        event="summary",
        connections=accepted,
        messages=chat.messages,
        clean=server.clean,
    )
    return Status.DONE
