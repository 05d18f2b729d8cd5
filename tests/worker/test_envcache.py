"""The folder of environments: who holds what, what is left of killed builds, what goes when there is too much."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from nbdist.worker import installing
from nbdist.worker.envcache import MARK, USERS, EnvironmentCache

A, B, C = "aa11", "bb22", "cc33"


@pytest.fixture
def cache(tmp_path: Path) -> EnvironmentCache:
    """One worker's view of a folder."""
    return EnvironmentCache(tmp_path / "environments")


@pytest.fixture
def other(cache: EnvironmentCache) -> EnvironmentCache:
    """Another worker's view of it."""
    return EnvironmentCache(cache.folder)


def make(cache: EnvironmentCache, name: str, used: float, data: bytes = b"x") -> None:
    handle = cache.lock(name)
    cache.path(name).mkdir()
    (cache.path(name) / "file").write_bytes(data)
    cache.finish(name, "pandas 1.0")
    os.utime(cache.path(name) / MARK, (used, used))
    close(handle)


def close(handle: int | None) -> None:
    assert handle is not None
    os.close(handle)


def left(cache: EnvironmentCache) -> list[str]:
    return sorted(path.name for path in cache.folder.iterdir() if path.is_dir())


def test_one_worker_at_a_time(cache: EnvironmentCache, other: EnvironmentCache) -> None:
    handle = cache.lock(A)
    assert other.lock(A) is None
    close(other.lock(B))
    close(handle)
    close(other.lock(A))


def test_what_is_not_whole_cannot_be_claimed_and_is_swept(cache: EnvironmentCache, other: EnvironmentCache) -> None:
    (cache.folder / A).mkdir(parents=True)
    (cache.folder / B).mkdir()
    assert not cache.claim(A)
    handle = other.lock(B)
    cache.prune()
    assert left(cache) == [B], "that one is being built"
    close(handle)
    cache.prune()
    assert left(cache) == []


def test_the_oldest_goes_unless_a_worker_uses_it(
    cache: EnvironmentCache, other: EnvironmentCache, monkeypatch: Any
) -> None:
    monkeypatch.setattr(installing, "MAX_ENVIRONMENTS", 1)
    for used, name in enumerate((A, B, C)):
        make(cache, name, used)
    assert other.claim(A)
    os.utime(cache.path(A) / MARK, (0, 0))
    cache.prune()
    assert left(cache) == [A]
    with pytest.raises(OSError, match="another worker uses"):
        cache.remove(A)
    other.release(A)
    make(cache, B, 1)
    cache.prune()
    assert left(cache) == [B]


def test_too_much_of_it_goes(cache: EnvironmentCache, monkeypatch: Any) -> None:
    monkeypatch.setattr(installing, "MAX_ENVIRONMENT_BYTES", 1500)
    make(cache, A, 1, bytes(1000))
    make(cache, B, 2, bytes(1000))
    cache.prune()
    assert left(cache) == [B]


def test_a_claim_counts_as_use(cache: EnvironmentCache, monkeypatch: Any) -> None:
    monkeypatch.setattr(installing, "MAX_ENVIRONMENTS", 1)
    make(cache, A, 1)
    make(cache, B, 2)
    assert cache.claim(A)
    assert cache.claim(A), "twice is once"
    assert cache.claimed() == [A]
    cache.release(A)
    cache.prune()
    assert left(cache) == [A]


def test_a_killed_workers_claim_holds_nothing(cache: EnvironmentCache, monkeypatch: Any) -> None:
    monkeypatch.setattr(installing, "MAX_ENVIRONMENTS", 0)
    make(cache, A, 1)
    (cache.path(A) / USERS).mkdir()
    (cache.path(A) / USERS / "dead").touch()
    cache.prune()
    assert left(cache) == []
