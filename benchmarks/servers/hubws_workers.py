"""hubws_workers.py PORT WORKERS WORK: so many workers on one port; each message costs WORK microseconds
of CPU before its echo, as it would in an application.
"""

import sys
import time

import hubws
from hubws.server.workers import Worker, listening_sockets, run_workers


async def main(worker: Worker) -> None:
    def answer(connection: hubws.Connection, message: str | bytes) -> None:
        end = time.thread_time_ns() + work
        while time.thread_time_ns() < end:
            pass
        connection.send_nowait(message)

    await hubws.serve(
        hubws.Callbacks(on_message=answer), listeners=worker.listeners, task_status=worker
    )


port, workers, work = int(sys.argv[1]), int(sys.argv[2]), 1000 * int(sys.argv[3])
sockets = listening_sockets(port, "127.0.0.1")
print("ready", flush=True)
run_workers(main, workers, sockets=sockets)
