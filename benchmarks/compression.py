"""What permessage-deflate costs: memory for each connection, time and size for each message.

python benchmarks/compression.py            # some 30 seconds; writes benchmarks/COMPRESSION.md
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import random
import subprocess
import sys
import time
import zlib
from pathlib import Path
from statistics import median
from typing import Any

import machine

from hubws import Deflate, DeflateParameters
from hubws.protocol import deflate

HERE = Path(__file__).parent
LIBRARIES = {"zlib": "zlib", "zlib-ng": "zlib_ng.zlib_ng"}
CONNECTIONS = 500
ROUNDS = 5
VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "each message by itself": {"alone": True},
    "window 15, memory level 8 (zlib's own)": {
        "server_max_window_bits": 15,
        "client_max_window_bits": 15,
        "memory_level": 8,
    },
    "window 9, memory level 1": {
        "server_max_window_bits": 9,
        "client_max_window_bits": 9,
        "memory_level": 1,
    },
}
WORDS = (
    "the quick brown fox jumps over a lazy dog while seven wizards box with jugs of quartz"
).split()


def messages(size: int) -> list[bytes]:
    """Chat messages in JSON, cut to a size."""
    source = random.Random(size)
    return [
        json.dumps(
            {
                "event": "CHAT_MSG",
                "id": source.randrange(10**9),
                "user": source.choice(["ada", "grace", "mo"]),
                "message": " ".join(source.choices(WORDS, k=size // 4 + 1)),
            }
        ).encode()[:size]
        for _ in range(200)
    ]


def make(library: str, settings: dict[str, Any]) -> tuple[deflate.Deflater, deflate.Inflater]:
    """The two ends of the server's direction."""
    deflate.zlib = importlib.import_module(LIBRARIES[library])  # type: ignore[misc]
    settings = {"min_size": 0} | settings
    alone = settings.pop("alone", False)
    chosen = Deflate(**settings)
    agreed = DeflateParameters(
        server_no_context_takeover=alone,
        client_no_context_takeover=alone,
        server_max_window_bits=chosen.server_max_window_bits,
        client_max_window_bits=chosen.client_max_window_bits or 12,
    )
    deflater = chosen.build(agreed, is_client=False)[0]
    assert deflater is not None
    return deflater, chosen.build(agreed, is_client=True)[1]


def resident() -> int:
    """This process's memory, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def measure_memory(library: str, variant: str) -> float:
    """Bytes that both directions of a connection keep after ten messages each."""
    some = messages(300)[:10]
    make(library, VARIANTS[variant])
    kept = []
    before = resident()
    for _ in range(CONNECTIONS):
        deflater, inflater = make(library, VARIANTS[variant])
        for message in some:
            payload = deflater.compress(message)
            assert payload is not None
            inflate(inflater, payload)
        kept.append((deflater, inflater))
    return (resident() - before) / CONNECTIONS


def inflate(inflater: deflate.Inflater, payload: bytes) -> bytes:
    inflated, _ = inflater.inflate(payload, 1 << 20)
    rest, _ = inflater.inflate(inflater.tail(), 1 << 20)
    inflater.end_message()
    return inflated + rest


def measure_message(
    library: str, settings: dict[str, Any], size: int
) -> tuple[float, float, float]:
    """Microseconds to compress one, microseconds to inflate it, and its size in parts of one."""
    some = messages(size)
    compressing, inflating = [], []
    for _ in range(ROUNDS):
        deflater, inflater = make(library, settings)
        start = time.perf_counter()
        payloads = [deflater.compress(message) for message in some]
        compressing.append((time.perf_counter() - start) / len(some) * 1e6)
        made = [payload for payload in payloads if payload is not None]
        start = time.perf_counter()
        for payload in made:
            inflate(inflater, payload)
        inflating.append((time.perf_counter() - start) / max(1, len(made)) * 1e6)
    sent = sum(
        len(message if payload is None else payload)
        for message, payload in zip(some, payloads, strict=True)
    )
    return median(compressing), median(inflating), sent / sum(map(len, some))


def where() -> str:
    facts = machine.describe()
    names = ["date", "CPU", "cores", "Python", "hubws commit"]
    zlib_ng = importlib.metadata.version("zlib-ng")
    versions = f"zlib {zlib.ZLIB_RUNTIME_VERSION}, zlib-ng (PyPI) {zlib_ng}"
    return ", ".join(f"{name} {facts[name]}" for name in names) + ", " + versions


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> None:
    if len(sys.argv) > 1:
        print(measure_memory(*sys.argv[1:]))
        return
    parts = [
        "# What compression costs\n\n"
        f"`python benchmarks/compression.py`; {where()}.\n"
        "Messages are chat messages in JSON with random words; medians of five runs.\n\n"
        "## Memory of a connection, in KB\n\n"
        f"Both directions, after ten messages of 300 bytes; {CONNECTIONS} of them in a process.\n\n"
    ]
    rows = []
    for variant in VARIANTS:
        row = [variant]
        for library in LIBRARIES:
            command = [sys.executable, __file__, library, variant]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            row.append(f"{float(done.stdout) / 1000:.1f}")
        rows.append(row)
        print(row, flush=True)
    parts.append(table(["settings", *LIBRARIES], rows))
    parts.append(
        "\n## Time and size of a message\n\n"
        "Microseconds to compress and to inflate, and the size that is left, with `min_size=0`.\n\n"
    )
    rows = []
    for size in (16, 32, 64, 128, 300, 1000, 16_384):
        for alone in (False, True):
            row = [f"{size} B, {'by itself' if alone else 'with context'}"]
            for library in LIBRARIES:
                compress, back, left = measure_message(library, {"alone": alone}, size)
                row += [f"{compress:.1f}", f"{back:.1f}", f"{left:.2f}"]
            rows.append(row)
            print(row, flush=True)
    columns = [
        f"{library} {what}" for library in LIBRARIES for what in ("deflate", "inflate", "size")
    ]
    parts.append(table(["message", *columns], rows))
    parts.append(
        "\n## Levels\n\nMessages of 300 bytes, with context: microseconds to compress, size left.\n\n"
    )
    rows = []
    for level in (1, 3, 6, 9):
        row = [str(level)]
        for library in LIBRARIES:
            compress, _, left = measure_message(library, {"level": level}, 300)
            row += [f"{compress:.1f}", f"{left:.2f}"]
        rows.append(row)
        print(row, flush=True)
    columns = [f"{library} {what}" for library in LIBRARIES for what in ("deflate", "size")]
    parts.append(table(["level", *columns], rows))
    (HERE / "COMPRESSION.md").write_text("".join(parts))


if __name__ == "__main__":
    main()
