"""Which twin of the native modules runs, as the environment says: each test in its own process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

TWINS = """
import hubws.protocol.codec as codec, hubws.transport.syscalls as syscalls
print(codec.NATIVE, codec.decode.__module__, syscalls.send.__module__)
"""

NOT_BUILT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.endswith("._native"):
            raise ImportError(f"{name} was not built")

sys.meta_path.insert(0, Missing())
"""

PURE = "False hubws.protocol._codec hubws.transport._syscalls\n"
NATIVE = "True hubws.protocol._native hubws.transport._native\n"
WARNING = "RuntimeWarning: hubws runs on its pure-Python codec, several times slower than the"


def run(code: str, choice: str | None, *options: str) -> subprocess.CompletedProcess[str]:
    """Run some Python with that HUBWS_NATIVE."""
    environment = {name: value for name, value in os.environ.items() if name != "HUBWS_NATIVE"}
    if choice is not None:
        environment["HUBWS_NATIVE"] = choice
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.usefixtures("native_codec", "native_syscalls")
class TestBuilt:
    @pytest.mark.parametrize("choice", [None, "auto", "require"])
    def test_native(self, choice: str | None) -> None:
        done = run(TWINS, choice, "-W", "error")
        assert (done.stdout, done.stderr, done.returncode) == (NATIVE, "", 0)

    def test_never(self) -> None:
        done = run(TWINS, "never", "-W", "error")
        assert (done.stdout, done.stderr, done.returncode) == (PURE, "", 0)


class TestNotBuilt:
    @pytest.mark.parametrize("choice", [None, "auto"])
    def test_falls_back_with_one_warning(self, choice: str | None) -> None:
        done = run(NOT_BUILT + TWINS, choice, "-W", "always")
        assert (done.stdout, done.returncode) == (PURE, 0)
        assert done.stderr.count(WARNING) == 1
        assert "HUBWS_NATIVE=never to accept this" in done.stderr

    def test_never(self) -> None:
        done = run(NOT_BUILT + TWINS, "never", "-W", "error")
        assert (done.stdout, done.stderr, done.returncode) == (PURE, "", 0)

    def test_require(self) -> None:
        done = run(NOT_BUILT + TWINS, "require")
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.endswith("ImportError: hubws.protocol._native was not built\n")


@pytest.mark.parametrize("choice", ["", "nonsense", "NEVER", "1"])
def test_another_choice(choice: str) -> None:
    done = run("import hubws", choice)
    assert done.returncode == 1
    message = f"HUBWS_NATIVE is {choice!r}; it must be one of auto, never, require"
    assert done.stderr.endswith(f"ImportError: {message}\n")


def test_endpoints_without_the_native_codec() -> None:
    code = """
from hubws.protocol.endpoint import Endpoint
server = Endpoint(is_client=False, max_message_size=100)
data = bytes.fromhex("8185 37fa213d 7f9f4d5158")
print(server.receive_data(data, len(data)), server.encode("Hello"))
"""
    done = run(code, "never", "-W", "error")
    assert (done.stdout, done.stderr) == ("['Hello'] b'\\x81\\x05Hello'\n", "")
