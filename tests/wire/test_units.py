"""Sizes as people write them."""

from __future__ import annotations

import pytest

from nbdist.wire.units import size_text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1_000, "1.0 KB"),
        (7_940_000_000, "7.9 GB"),
        (150e6, "150 MB"),
        (5e15, "5000 TB"),
    ],
)
def test_size_text(size: float, text: str) -> None:
    assert size_text(size) == text
