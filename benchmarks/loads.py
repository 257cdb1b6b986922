"""What is measured: the servers, the loads, and the ratios that hubws aims at."""

import dataclasses
import sys
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE / "build"


@dataclasses.dataclass(frozen=True)
class Server:
    """A server to measure; {port} and {burst} in its command are filled in at each start."""

    name: str
    command: tuple[str, ...]

    def command_line(self, port: int, burst: int) -> list[str]:
        return [part.format(port=port, burst=burst) for part in self.command]


@dataclasses.dataclass(frozen=True)
class Load:
    """One kind of traffic: how the generator is called, and which figure of its report counts."""

    name: str
    title: str
    unit: str
    servers: tuple[Server, ...]
    arguments: tuple[str, ...]
    figure: str = "messages_per_second"
    burst: int = 0
    rounds_at_most: int = 1000

    @property
    def is_memory(self) -> bool:
        return self.figure == "rss_megabytes"

    @property
    def has_latency(self) -> bool:
        return self.arguments[0] == "--mode=echo"


@dataclasses.dataclass(frozen=True)
class Target:
    """What hubws must reach on a load: a ratio to another server, or a figure (`against` None).

    For memory the value is an upper bound, for everything else a lower one.
    """

    load: str
    server: str
    value: float
    against: str | None


def python_server(name: str, script: str, *arguments: str) -> Server:
    return Server(name, (sys.executable, str(HERE / "servers" / script), "{port}", *arguments))


C_ECHO = Server("c_echo", (str(BUILD / "c_echo"), "{port}"))
GORILLA = Server("gorilla (Go)", (str(BUILD / "gorilla_echo"), "{port}"))

ECHO_SERVERS = (
    python_server("hubws callbacks", "hubws_echo.py", "callbacks"),
    python_server("hubws iterate", "hubws_echo.py", "iterate"),
    python_server("picows", "picows_echo.py"),
    python_server("aiohttp", "aiohttp_echo.py"),
    python_server("websockets asyncio", "websockets_asyncio_echo.py"),
    python_server("websockets trio", "websockets_trio_echo.py"),
    python_server("trio-websocket", "trio_websocket_echo.py"),
    GORILLA,
    C_ECHO,
)

BROADCAST_SERVERS = (
    python_server("hubws", "hubws_broadcast.py", "{burst}"),
    python_server("picows", "picows_broadcast.py", "{burst}"),
    python_server("websockets asyncio", "websockets_asyncio_broadcast.py", "{burst}"),
    python_server("trio-websocket", "trio_websocket_broadcast.py", "{burst}"),
)


def echo_load(name: str, title: str, connections: int, in_flight: int, size: int) -> Load:
    return Load(
        name,
        title,
        "messages/s",
        ECHO_SERVERS,
        (
            "--mode=echo",
            f"--connections={connections}",
            f"--in-flight={in_flight}",
            f"--size={size}",
        ),
    )


def broadcast_load(burst: int) -> Load:
    return Load(
        f"broadcast-{burst}",
        f"Broadcast of 128 B to 1,000 members, {burst} at once, received in all",
        "messages/s",
        BROADCAST_SERVERS,
        ("--mode=receive", "--subscribe", "--connections=1000", "--size=128"),
        burst=burst,
    )


LOADS = (
    echo_load("pipelined", "Echo, 100 connections, 16 in flight, 32 B", 100, 16, 32),
    echo_load("ping-pong", "Echo, 100 connections, 1 in flight, 32 B", 100, 1, 32),
    echo_load("thousand", "Echo, 1,000 connections, 1 in flight, 32 B", 1000, 1, 32),
    echo_load("large", "Echo, 16 connections, 4 in flight, 16 KiB", 16, 4, 16384),
    Load(
        "handshake",
        "Opening handshakes, 64 at once",
        "handshakes/s",
        ECHO_SERVERS,
        ("--mode=handshake", "--connections=64"),
        figure="handshakes_per_second",
    ),
    broadcast_load(1),
    broadcast_load(10),
    Load(
        "idle",
        "Resident memory of the server with 10,000 idle connections",
        "MB",
        ECHO_SERVERS,
        ("--mode=idle", "--connections=10000"),
        figure="rss_megabytes",
        rounds_at_most=2,  # memory hardly varies from run to run
    ),
)

TARGETS = (
    Target("pipelined", "hubws callbacks", 7.0, "picows"),
    Target("pipelined", "hubws callbacks", 40.0, "trio-websocket"),
    Target("pipelined", "hubws callbacks", 0.5, "c_echo"),
    Target("pipelined", "hubws iterate", 5.0, "picows"),
    Target("ping-pong", "hubws callbacks", 1.0, "picows"),
    Target("ping-pong", "hubws callbacks", 4.0, "trio-websocket"),
    Target("ping-pong", "hubws iterate", 0.65, "picows"),
    Target("ping-pong", "hubws iterate", 4.0, "trio-websocket"),
    Target("thousand", "hubws callbacks", 1.0, "picows"),
    Target("large", "hubws callbacks", 1.7, "picows"),
    Target("handshake", "hubws callbacks", 1.2, "picows"),
    Target("broadcast-1", "hubws", 0.95, "picows"),
    Target("broadcast-1", "hubws", 5.0, "trio-websocket"),
    Target("broadcast-10", "hubws", 5.0, "picows"),
    Target("broadcast-10", "hubws", 5.0, "trio-websocket"),
    Target("idle", "hubws callbacks", 75.0, None),
    Target("idle", "hubws callbacks", 0.35, "picows"),
)
