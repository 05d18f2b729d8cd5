"""Blocks of items can be cut without being read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdist.errors import FrameError
from nbdist.wire import blocks

CHUNKS = st.lists(st.tuples(st.integers(1, 300), st.binary(max_size=30)), max_size=10)


@given(CHUNKS, st.integers(0, 10**9))
def test_join_and_split(chunks: list[tuple[int, bytes]], start: int) -> None:
    found = blocks.split(blocks.join(chunks), start)
    assert [(chunk.count, bytes(chunk.data)) for chunk in found] == chunks
    at = start
    for chunk in found:
        assert chunk.start == at
        at = chunk.stop
    assert at == start + sum(count for count, _ in chunks)


@given(st.binary(max_size=60))
def test_bytes_that_are_no_block_are_frame_errors(data: bytes) -> None:
    try:
        chunks = blocks.split(data, 0)
    except FrameError:
        return
    assert blocks.join((chunk.count, chunk.data) for chunk in chunks) == data


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "cut short"),
        (b"\xff\xff\xff\xff", "claims 4294967295 chunks"),
        (blocks.join([(1, b"abc")])[:-1], "do not add up"),
        (blocks.join([(1, b"abc")]) + b"x", "do not add up"),
        (blocks.join([(0, b"")]), "empty chunk"),
    ],
)
def test_the_error_says_what_is_wrong(data: bytes, complaint: str) -> None:
    with pytest.raises(FrameError, match=complaint):
        blocks.split(data, 0)
