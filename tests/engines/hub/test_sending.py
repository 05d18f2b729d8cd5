"""What is said of data on its way to the hub."""

from __future__ import annotations

import pytest

from nbdist.engines.base import PackedBlob, Sending, Weight
from nbdist.engines.hub.sending import MAX_WARNINGS, REPORT_SECONDS, Uploads, paced, warnings


def blob(name: str, size: int) -> PackedBlob:
    return PackedBlob(name, size, ())


def test_reports_come_now_and_then_and_the_last_says_all() -> None:
    uploads = Uploads("j")
    uploads.add([blob("a", 600), blob("b", 400)], 10.0)
    assert uploads.sent("a", 100, 10.05) == []
    assert uploads.sent("a", 300, 10.5) == [Sending("j", 300, 1000, 0.5)]
    assert uploads.sent("b", 200, 10.55) == []
    assert uploads.arrived("a", 10.58) == []
    assert uploads.arrived("b", 10.59) == [Sending("j", 1000, 1000, pytest.approx(0.59))]
    assert uploads.sent("b", 400, 20.0) == []


def test_what_goes_at_once_is_not_reported() -> None:
    uploads = Uploads("j")
    uploads.add([blob("a", 600), blob("b", 5)], 10.0)
    assert uploads.arrived("a", 10.05) + uploads.arrived("b", 10.06) + uploads.arrived("c", 10.9) == []


def test_a_blob_that_broke_off_begins_anew() -> None:
    uploads = Uploads("j")
    uploads.add([blob("a", 1000)], 0.0)
    assert uploads.sent("a", 900, 1.0) == [Sending("j", 900, 1000, 1.0)]
    assert uploads.sent("a", 100, 2.0) == [Sending("j", 100, 1000, 2.0)]
    assert uploads.arrived("a", 3.0) == [Sending("j", 1000, 1000, 3.0)]


def test_what_a_later_hub_asks_for_is_counted_anew() -> None:
    uploads = Uploads("j")
    uploads.add([blob("a", 10)], 0.0)
    uploads.arrived("a", 0.0)
    uploads.add([blob("a", 10), blob("b", 10)], 5.0)
    assert uploads.sent("b", 5, 6.0) == [Sending("j", 5, 20, 1.0)]


def test_pieces_are_told_now_and_then() -> None:
    now, told = [0.0], []
    hear = paced(lambda count, when: told.append((count, when)), lambda: now[0])
    for step in range(100):
        now[0] = step * REPORT_SECONDS / 10
        hear(step)
    assert 8 <= len(told) <= 10
    assert told[0] == (10, pytest.approx(REPORT_SECONDS))


IMAGES = Weight("'images'", ("a", "b"), 10)
TABLE = Weight("'table'", (), 300_000_000)


def test_a_large_value_is_named_with_its_size() -> None:
    (text,) = warnings([IMAGES, TABLE], [blob("a", 1_000_000_000), blob("b", 200_000_000)], "t")
    assert text.startswith("this job takes 'images' along: 1.2 GB, sent once to each machine.")
    assert "\n" not in text


def test_only_what_is_to_be_sent_counts() -> None:
    assert not warnings([IMAGES, TABLE], [blob("b", 90_000_000)], "t")
    assert not warnings([IMAGES], [blob("a", 50_000_000), blob("c", 1_000_000_000)], "t")
    (text,) = warnings([IMAGES, TABLE], [blob("t", 300_000_100)], "t")
    assert "'table' along: 300 MB" in text
    assert not warnings([IMAGES, TABLE], [], "")


def test_not_more_than_a_few_are_named() -> None:
    weights = [Weight(f"'x{n}'", (f"b{n}",), 0) for n in range(20)]
    texts = warnings(weights, [blob(f"b{n}", (n + 1) * 200_000_000) for n in range(20)], "")
    assert len(texts) == MAX_WARNINGS
    assert "'x19'" in texts[0]
