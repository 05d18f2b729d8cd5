"""Functions and values from each version of Python to each other one, as source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from portable_rows import Row, rows
from pythons import HERE, Other, Peer, find, others

PAIRS = [(HERE, HERE), *((HERE, other) for other in others()), *((other, HERE) for other in others())]
FORBIDDEN = (b"CodeType", b"_make_function")


class Pool:
    """A peer for each version, made when it is first asked for."""

    def __init__(self) -> None:
        self._peers: dict[str, Any] = {HERE: Peer()}

    def __getitem__(self, version: str) -> Any:
        if version not in self._peers:
            interpreter = find(version)
            if interpreter is None:
                pytest.skip(f"Python {version} is not installed here: neither on PATH nor in pyenv")
            self._peers[version] = Other(interpreter)
        return self._peers[version]

    def close(self) -> None:
        for peer in self._peers.values():
            if isinstance(peer, Other):
                peer.close()


@pytest.fixture(scope="module")
def pythons() -> Iterator[Pool]:
    pool = Pool()
    yield pool
    pool.close()


def tuple_of(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


CASES = [(row, there, home) for row in rows() for home, there in PAIRS if tuple_of(home) >= row.since]


@pytest.mark.parametrize(("row", "there", "home"), CASES, ids=[f"{r.name}-{h}-to-{t}" for r, t, h in CASES])
def test_it_does_there_what_it_does_here(row: Row, there: str, home: str, pythons: Pool) -> None:
    sender, receiver = pythons[home], pythons[there]
    filename = f"<cell {row.name} of {home}>"
    sender.define(filename, row.text)
    packed = sender.pack(filename)
    assert isinstance(packed, bytes), packed
    result, _ = receiver.run(packed, sender.arguments(filename))
    for data in (packed, result):
        assert not [name for name in FORBIDDEN if name in data]
    found, expected, is_equal, trace = sender.judge(filename, result)
    assert (found, is_equal) == (expected, True), trace
