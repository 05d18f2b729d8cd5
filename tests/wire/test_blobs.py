"""Names of blobs depend on their bytes alone, not on how these come."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdist.wire import blobs


def by_the_book(data: bytes) -> str:
    pieces = [data[at : at + blobs.PIECE_BYTES] for at in range(0, len(data), blobs.PIECE_BYTES)]
    return hashlib.sha256(b"".join(hashlib.sha256(piece).digest() for piece in pieces)).hexdigest()


@pytest.mark.parametrize("size", [0, 1, 2**20 - 1, 2**20, 2**20 + 1, 3 * 2**20, 9 * 2**20 + 5])
def test_a_name_is_the_hash_of_the_pieces_hashes(size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    assert blobs.blob_name([data]) == by_the_book(data)
    assert blobs.is_name(blobs.blob_name([data]))


@given(st.lists(st.integers(0, 2**21), max_size=4), st.integers(5_000, 2**21))
def test_it_does_not_matter_how_the_bytes_come(sizes: list[int], step: int) -> None:
    data = b"".join(bytes([index + 1]) * size for index, size in enumerate(sizes))
    expected = by_the_book(data)
    assert blobs.blob_name([data[at : at + step] for at in range(0, len(data), step)]) == expected
    hasher = blobs.BlobHasher()
    for at in range(0, len(data), step):
        hasher.update(data[at : at + step])
    assert hasher.size == len(data)
    assert hasher.name() == expected


def test_large_blobs_in_uneven_buffers() -> None:
    data = bytes(range(251)) * 50_000
    cuts = [0, 1, 700_000, 700_001, 5_000_000, len(data)]
    buffers = [memoryview(data)[a:b] for a, b in pairwise(cuts)]
    assert blobs.blob_name(buffers) == by_the_book(data)


@pytest.mark.parametrize("text", ["", "a" * 63, "A" * 64, "g" * 64, "a" * 64 + "\n", "../" + "a" * 61, "٣" * 64])
def test_what_is_no_name(text: str) -> None:
    assert not blobs.is_name(text)
