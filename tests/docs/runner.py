"""Runs programs in forks of a process that has imported what they need: 20 ms for each, not 400.

It reads requests in JSON, a line each, and answers each by a line:

    {"run": "program.py", "output": "folder"}   -> the process' number; it has begun
    {"wait": 4711}                              -> its exit status, negative for a signal
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import traceback
import warnings
from pathlib import Path

import trio
import trio.testing
import trio_websocket
import trustme
import websockets.asyncio.client
import websockets.asyncio.server

import hubws
import hubws.proxy
import hubws.testing

PRELOADED = (trio.testing, trio_websocket, trustme, websockets.asyncio, hubws.proxy, hubws.testing)
LIMIT = 30
"""Seconds for a program."""


def start(path: str, output: str) -> int:
    """Run a program in a child, as `python -W error` would; its output goes into that folder."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        signal.alarm(LIMIT)
        for descriptor, name in enumerate(["stdin", "stdout", "stderr"]):
            target = os.open(Path(output) / name, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            os.dup2(target, descriptor)
        os.chdir(output)
        sys.argv = [path]
        warnings.simplefilter("error")
        runpy.run_path(path, run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # a child must not go on as its parent
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)


def main() -> None:
    """Do what is asked for until the input ends."""
    for line in sys.stdin:
        request = json.loads(line)
        if "run" in request:
            answer = start(request["run"], request["output"])
        else:
            _, code = os.waitpid(request["wait"], 0)
            answer = os.waitstatus_to_exitcode(code)
        print(answer, flush=True)


if __name__ == "__main__":
    main()
