"""Who owns a connection that no server of ours owns: the block in which it is used."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from ..connection.connection import Connection
from ..errors import ConnectionClosed
from ..protocol.frames import CloseCode


@contextlib.asynccontextmanager
async def owned(connection: Connection) -> AsyncIterator[Connection]:
    """Close a connection when the block ends.

    With 1000, with 1011 when the block raises, and at once when it is cancelled.

    As in a handler of `serve`, a ConnectionClosed that leaves the block is no error, alone or in a
    group: the programs around it know nothing of it, and some would end for it.
    """
    try:
        yield connection
    except ConnectionClosed:
        pass
    except Exception as error:
        if not isinstance(error, ExceptionGroup) or error.split(ConnectionClosed)[1]:
            connection.fail(CloseCode.INTERNAL_ERROR, "internal error", error)
            await connection.aclose()  # a second at most; else the peer may be told 1000
            raise
    except BaseException:
        connection.abort()
        raise
    await connection.aclose()
