"""What the tests of all rooms share: both twins of the native code, and how hard hypothesis tries.

Under CI (`CI=true`) a native module that is missing fails the tests. `HYPOTHESIS_PROFILE=long` tries
twenty times as many examples.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import ModuleType
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, settings

from hubws.protocol import endpoint, frames

# A fixture that chooses a twin stays as it is for all examples of a test, which is what is meant.
settings.register_profile(
    "short",
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.register_profile("long", parent=settings.get_profile("short"), max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))

UseCodec: TypeAlias = Callable[[ModuleType], AbstractContextManager[None]]


def import_native(name: str) -> ModuleType:
    """The native module of that name; where it was not built, skip, or fail under CI."""
    try:
        return importlib.import_module(name)
    except ImportError:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"{name} is not built")


@pytest.fixture
def native_codec() -> ModuleType:
    return import_native("hubws.protocol._native")


@pytest.fixture
def pure_codec() -> ModuleType:
    return importlib.import_module("hubws.protocol._codec")


@pytest.fixture
def native_syscalls() -> ModuleType:
    return import_native("hubws.transport._native")


@pytest.fixture
def pure_syscalls() -> ModuleType:
    return importlib.import_module("hubws.transport._syscalls")


@pytest.fixture(params=["native", "pure"])
def codec(request: pytest.FixtureRequest) -> ModuleType:
    """Each twin of hubws.protocol.codec."""
    return request.getfixturevalue(f"{request.param}_codec")


@pytest.fixture(params=["native", "pure"])
def syscalls(request: pytest.FixtureRequest) -> ModuleType:
    """Each twin of hubws.transport.syscalls."""
    return request.getfixturevalue(f"{request.param}_syscalls")


@pytest.fixture
def use_codec() -> UseCodec:
    """A context manager within which frames and endpoints run on the codec it is given."""

    @contextmanager
    def use(codec: ModuleType) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("decode", "encode_message", "encode_frame", "mask"):
                patch.setattr(endpoint, name, getattr(codec, name))
            for name in ("encode_frame", "mask"):
                patch.setattr(frames, name, getattr(codec, name))
            yield

    return use


@pytest.fixture
def both_codecs(codec: ModuleType, use_codec: UseCodec) -> Iterator[ModuleType]:
    """Run the test once on each twin of the codec."""
    with use_codec(codec):
        yield codec
