"""Every fuzzing target keeps its invariant: for its seeds, what was found before, and random inputs."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from random import Random
from types import ModuleType
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fuzzing
from fuzzing.targets import NAMES
from fuzzing.traffic import mutate
from hubws.protocol import codec, deflate
from tests.conftest import UseCodec

REGRESSIONS = Path(fuzzing.__file__).parent / "regressions"
FOUND = sorted(path.relative_to(REGRESSIONS) for path in REGRESSIONS.glob("*/*"))
WITHOUT_CODEC = {"text", "extensions", "request", "response", "twins", "url"}
MUTANTS = 250  # of the seeds, for each target and codec

Twin = tuple[str, str]
TWINS: list[Twin] = [
    (name, twin) for name in NAMES for twin in ("native", "pure")[name in WITHOUT_CODEC :]
]


@pytest.fixture
def target(
    request: pytest.FixtureRequest, use_codec: UseCodec, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ModuleType]:
    """A target, on one of the codecs."""
    name, twin = request.param
    module = import_module(f"fuzzing.targets.{name}")
    if name == "twins":
        request.getfixturevalue("native_codec")
    chosen = request.getfixturevalue(f"{twin}_codec")
    for function in ("decode", "encode_message", "encode_frame", "mask"):
        monkeypatch.setattr(codec, function, getattr(chosen, function))
    with use_codec(chosen):
        yield module


on_both_codecs = pytest.mark.parametrize("target", TWINS, indirect=True, ids="-".join)


@on_both_codecs
def test_seeds(target: ModuleType) -> None:
    seeds = target.seeds()
    assert len(set(seeds)) == len(seeds) > 5
    for seed in (b"", *seeds):
        target.check(seed)


@on_both_codecs
def test_mutated_seeds(target: ModuleType) -> None:
    seeds = target.seeds()
    random = Random(crc32(target.__name__.encode()))  # the same ones at every run
    for _ in range(MUTANTS):
        target.check(mutate(random.choice(seeds), random.choice(seeds), random))


@on_both_codecs
@given(data=st.binary(max_size=300))
def test_anything(target: ModuleType, data: bytes) -> None:
    target.check(data)


@pytest.mark.parametrize("name", ["deflate", "extensions"])
def test_without_zlib_ng(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deflate, "zlib", zlib)
    module = import_module(f"fuzzing.targets.{name}")
    for seed in module.seeds():
        module.check(seed)


@pytest.mark.parametrize("path", FOUND, ids=str)
def test_what_was_found(path: Path) -> None:
    import_module(f"fuzzing.targets.{path.parts[0]}").check((REGRESSIONS / path).read_bytes())


def test_the_registry_is_complete() -> None:
    assert {path.parts[0] for path in FOUND} <= set(NAMES)
    for name in NAMES:
        module = import_module(f"fuzzing.targets.{name}")
        assert (module.__doc__ or "").partition("\n")[0].endswith(".")
