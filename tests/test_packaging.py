"""What gets installed: built, installed and used as users do, each in a virtual environment of its own.

Nothing is fetched: the environments see the packages of the one that runs the tests, hubws excepted,
and builds use its setuptools.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOT_SOURCES = shutil.ignore_patterns(
    ".git", ".venv*", "build", "dist", "test-artefacts", "*.egg-info", "*.so", "__pycache__",
    ".*_cache", ".hypothesis", ".coverage*",
)  # fmt: skip
MEDDLING = ("HUBWS_NATIVE", "PYTHONPATH", "PYTHONWARNINGS", "PYTHONDONTWRITEBYTECODE", "CC")
NATIVE = ["hubws/protocol/_native", "hubws/transport/_native"]

ECHO = """
import trio, hubws

async def echo(connection):
    async for message in connection:
        await connection.send(message)

async def main():
    async with trio.open_nursery() as nursery:
        server = await nursery.start(hubws.serve, echo, "127.0.0.1", 0)
        async with hubws.connect(f"ws://127.0.0.1:{server.port}/") as connection:
            await connection.send("hello")
            assert "hello" == await connection.receive()
        nursery.cancel_scope.cancel()

trio.run(main)
from hubws.protocol import codec
print(codec.decode.__module__, hubws.__file__)
"""


def run(*command: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command that must succeed; of the environment only what has no bearing on the result."""
    environment = {name: value for name, value in os.environ.items() if name not in MEDDLING}
    done = subprocess.run(
        command, cwd=cwd, env=environment | variables, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


class Environment:
    """A virtual environment with everything but hubws."""

    def __init__(self, path: Path) -> None:
        venv.create(path, symlinks=True)
        self.python = path / "bin/python"
        self.site = Path(sysconfig.get_path("purelib", "venv", {"base": str(path)}))
        # Looked up after the environment's own; hubws is not found there, for an editable
        # installation is found by way of a .pth file, which is read in a site's own folder only.
        (self.site / "outer.pth").write_text(sysconfig.get_path("purelib"))

    def install(self, what: Path, **variables: str) -> str:
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", self.python)
        done = run(
            *pip, "install", "--no-deps", "--no-index", "--no-build-isolation", "--verbose", what,
            cwd=self.site.parent, **variables,
        )  # fmt: skip
        return done.stdout + done.stderr

    def echo(self, cwd: Path, *options: str) -> subprocess.CompletedProcess[str]:
        """Serve, connect and echo one message; prints which codec ran and where from."""
        return run(self.python, "-W", "always", *options, "-c", ECHO, cwd=cwd)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository, since building leaves traces."""
    copy = tmp_path_factory.mktemp("sources") / "hubws"
    shutil.copytree(ROOT, copy, ignore=NOT_SOURCES)
    return copy


@pytest.fixture(scope="module")
def built(sources: Path) -> tuple[Path, str]:
    """Where the sdist and the wheel made from it are, and what the build said."""
    done = run(
        sys.executable, "-m", "build", "--no-isolation", sources,
        cwd=sources.parent, HUBWS_NATIVE="require",
    )  # fmt: skip
    return sources / "dist", done.stdout + done.stderr


@pytest.fixture(scope="module")
def sdist(built: tuple[Path, str]) -> Path:
    (path,) = built[0].glob("*.tar.gz")
    return path


@pytest.fixture(scope="module")
def wheel(built: tuple[Path, str]) -> Path:
    (path,) = built[0].glob("*.whl")
    return path


def test_the_build_has_no_complaints(built: tuple[Path, str]) -> None:
    assert "warning" not in built[1].lower()


def test_the_sdist_holds_everything(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    expected = {
        "LICENSE", "README.md", "CHANGELOG.md", "Makefile", "pyproject.toml", "setup.py",
        "hubws/py.typed", "examples/broadcast/server.py", "docs/conf.py",
        "examples/rtt/client.py", "tests/test_packaging.py", "docs/design.md", "docs/images/chat.png",
        "scripts/need",
        *(f"{name}{suffix}" for name in NATIVE for suffix in (".c", ".pyi")),
        *(str(path.relative_to(ROOT)) for path in ROOT.glob("hubws/**/*.py")),
        *(str(path.relative_to(ROOT)) for path in ROOT.glob("tests/**/*.py")),
        *(str(path.relative_to(ROOT)) for path in ROOT.glob("hubws/pages/files/*")),
    }  # fmt: skip
    assert set() == expected - names
    assert [name for name in names if name.endswith((".so", ".pyc"))] == []


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    suffix = ".abi3.so" if not sysconfig.get_config_var("Py_GIL_DISABLED") else None
    if suffix is None:
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
    expected = {
        "hubws/py.typed",
        *(f"{name}{ending}" for name in NATIVE for ending in (".pyi", suffix)),
        *(str(path.relative_to(ROOT)) for path in ROOT.glob("hubws/**/*.py")),
        *(str(path.relative_to(ROOT)) for path in ROOT.glob("hubws/pages/files/*")),
    }
    assert expected == names
    if suffix == ".abi3.so":
        assert "-cp311-abi3-" in wheel.name


def test_an_installed_wheel_echoes(wheel: Path, tmp_path: Path) -> None:
    environment = Environment(tmp_path / "venv")
    environment.install(wheel)
    done = environment.echo(tmp_path)
    assert f"hubws.protocol._native {environment.site}/hubws/__init__.py\n" == done.stdout
    assert done.stderr == ""


def test_without_a_compiler_it_warns_once_and_works(sdist: Path, tmp_path: Path) -> None:
    environment = Environment(tmp_path / "venv")
    said = environment.install(sdist, CC="/bin/false")
    assert "building extension" in said  # it was tried, and optional
    done = environment.echo(tmp_path)
    assert f"hubws.protocol._codec {environment.site}/hubws/__init__.py\n" == done.stdout
    assert done.stderr.count("RuntimeWarning") == 1, done.stderr
    assert "pure-Python codec" in done.stderr
    assert list(environment.site.glob("hubws/**/*.so")) == []


def test_without_a_compiler_it_can_be_refused(sdist: Path, tmp_path: Path) -> None:
    environment = Environment(tmp_path / "venv")
    with pytest.raises(AssertionError, match=r"Failed building wheel for hubws"):
        environment.install(sdist, CC="/bin/false", HUBWS_NATIVE="require")


def test_native_modules_can_be_left_out(sdist: Path, tmp_path: Path) -> None:
    environment = Environment(tmp_path / "venv")
    environment.install(sdist, HUBWS_NATIVE="never")
    assert list(environment.site.glob("hubws/**/*.so")) == []
