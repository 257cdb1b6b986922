"""What a figure depends on: the machine, the date and every version that took part."""

import datetime as dt
import importlib.metadata
import os
import platform
import shutil
import subprocess
import time
from pathlib import Path

PACKAGES = (
    "hubws",
    "trio",
    "picows",
    "aiofastnet",
    "uvloop",
    "aiohttp",
    "websockets",
    "trio-websocket",
    "wsproto",
)


def _output(*command: str) -> str:
    """The first line that a command prints, or "" where there is no such command or it fails."""
    if shutil.which(command[0]) is None:
        return ""
    here = Path(__file__).parent
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=here)
    lines = done.stdout.splitlines()
    return lines[0].strip() if done.returncode == 0 and lines else ""


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def describe() -> dict[str, str]:
    """Names and values, in the order in which they are shown."""
    facts = {
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "CPU": _cpu_model(),
        "cores": str(os.cpu_count()),
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
    }
    facts |= {package: _version(package) for package in PACKAGES}
    facts["hubws commit"] = _output("git", "rev-parse", "--short", "HEAD")
    facts["Go"] = _output("go", "version").removeprefix("go version ")
    facts["gorilla/websocket"] = _output(
        "dpkg-query", "-W", "-f", "${Version}", "golang-github-gorilla-websocket-dev"
    )
    facts["C compiler"] = _output("cc", "--version")
    return {name: value for name, value in facts.items() if value}


BUSY = 0.05
"""The share of the processors from which others disturb a measurement."""


def busy_share() -> float:
    """What of this machine's processors others use, over a second."""

    def read() -> tuple[int, int]:
        fields = [
            int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        ]
        return sum(fields[:8]), fields[3] + fields[4]

    total, idle = read()
    time.sleep(1)
    total_after, idle_after = read()
    return 1 - (idle_after - idle) / (total_after - total)
