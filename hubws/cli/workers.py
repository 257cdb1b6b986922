"""A server in one process, or in several behind one port."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias

from ..bench.reasons import in_one_line
from ..server.accept import Handler
from ..server.serve import serve
from ..server.workers import Worker, listening_sockets, run_workers
from .options import ServerOptions
from .output import Output
from .running import LogLine, Run, Status, run, run_to_end
from .serving import at_address, quiet, serve_until_interrupted

Serve: TypeAlias = Callable[[Handler], Awaitable[Status]]
"""Serves with a handler until it is told to end."""

Program: TypeAlias = Callable[[Serve], Awaitable[Status]]
"""What a command does around that."""

LONGER = 10.0
"""What a worker gets beyond the time for closing its connections, in seconds."""


def run_server(program: Program, options: ServerOptions, workers: int = 1) -> int:
    """Run a server's program until it is interrupted; returns the exit status."""
    if workers < 1:
        raise ValueError(f"--workers must be 1 or more, not {workers}")
    if workers == 1:

        async def alone(run: Run) -> Status:
            return await program(partial(serve_until_interrupted, options=options, run=run))

        return run(alone, options)
    if options.unix_path is not None:
        raise ValueError("--workers needs a port; of a Unix socket there is only one")
    return run_to_end(partial(_supervise, program, options, workers), options)


def _supervise(program: Program, options: ServerOptions, workers: int, output: Output) -> Status:
    """Listen, say where, and have the workers serve."""
    arguments = options.arguments()
    port = arguments.pop("port")
    try:
        sockets = listening_sockets(port, arguments.pop("host"))
    except OSError as error:
        raise OSError(f"can't listen at {options.place}: {in_one_line(error)}") from error
    del arguments["unix_path"]
    for address in dict.fromkeys(sock.getsockname() for sock in sockets):
        url = at_address(options, address)
        output.say(f"listening at {url}")
        output.record(event="listening", url=url, workers=workers)
    output.flush_at_end()
    main = partial(_work, program, arguments, options.log_level)
    run_workers(main, workers, sockets=sockets, grace=options.grace + LONGER)
    for sock in sockets:
        sock.close()
    return Status.DONE


async def _work(program: Program, arguments: dict[str, Any], level: str, worker: Worker) -> None:
    """Be one of the workers."""
    handler = logging.StreamHandler()
    handler.setFormatter(LogLine(f"worker {worker.number}: "))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)

    async def serve_here(handler: Handler) -> Status:
        await serve(quiet(handler), listeners=worker.listeners, task_status=worker, **arguments)
        return Status.DONE

    await program(serve_here)
