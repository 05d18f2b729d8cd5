"""What a rehearsal runs, and what it says."""

from __future__ import annotations

from typing import Any

import pytest

from nbdist.notebook.cell import parse
from nbdist.notebook.rehearsal import Tried, estimate, rehearsal_of, report


@pytest.mark.parametrize(
    ("line", "items"),
    [
        ("n in range(100)", [0, 1, 2]),
        ("n in range(2)", [0, 1]),
        ("n in 'abcdef'", ["a", "b", "c"]),
        ("n in (c for c in 'abcdef')", ["a", "b", "c"]),
        ("x in range(2) for n in range(2)", [(0, 0), (0, 1), (1, 0)]),
        ("n in [] --reduce sum --task-size 9", []),
    ],
)
def test_the_first_items_without_a_fold(line: str, items: list[Any]) -> None:
    job = rehearsal_of(parse(line, "n").build({}, "<test cell>"), 3)
    assert (job.iterable, job.total, job.ranges, job.task.reduce) == (items, len(items), (), None)
    assert job.options["task_size"] == 1


def test_the_estimate_for_all() -> None:
    rows = [Tried(0, "1", 0.1, 100), Tried(1, "2", 0.3, 300)]
    text = report(rows, 1000, 4)
    assert text.splitlines()[0].split() == ["item", "value", "time", "bytes"]
    assert text.splitlines()[-1] == (
        "1,000 items like these take 3 min 20 s of one slot, about 50 s on 4 slots; their results are 200 KB."
    )
    assert estimate(rows, 1000, 1).startswith("1,000 items like these take 3 min 20 s of one slot;")


def test_what_is_not_known_is_not_guessed() -> None:
    assert "how many there are is not known" in estimate([Tried(0, "1", 0.5, 1)], None, 2)
    assert report([], 0, 1) == "There are no items."
