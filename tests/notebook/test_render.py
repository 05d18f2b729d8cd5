"""A snapshot as text and HTML."""

from __future__ import annotations

import re

import pytest

from nbdist.client.progress import Progress, Sent
from nbdist.notebook import render
from nbdist.notebook.tables import Table, jobs_table, pool_table
from nbdist.wire.messages import Notice, WorkerRow

EVIL = "<img src=x onerror=alert(1)>&\x1b[2J"
RUNNING = Progress(
    done=1200,
    total=5000,
    failed=2,
    elapsed_seconds=3.0,
    items_per_second=400,
    eta_seconds=9.5,
    running_slots=4,
    machines=(
        WorkerRow("laptop", 4, "ready", done=900, items_per_second=300.0),
        WorkerRow("old", 2, "refused", reason="no numpy: python -m pip install numpy"),
    ),
    more_machines=3,
)


def test_the_line_of_a_running_job() -> None:
    line = render.line(RUNNING, "primes")
    assert line == "primes: [#####...................] 1,200 of 5,000, 400/s, 9.5 s left, 4 slots, 2 failed"


def test_the_line_of_a_job_of_unknown_length() -> None:
    assert render.line(Progress(done=7), "job") == "job: 7 done"


def test_rows_and_what_is_not_shown() -> None:
    text = render.text(RUNNING, "primes")
    assert "laptop  4 slots, 900 done, 300/s" in text
    assert "refused: no numpy: python -m pip install numpy" in text
    assert "and 3 more machines" in text
    html = render.html(RUNNING, "primes")
    assert all(part in html for part in ("laptop", "python -m pip install numpy", "and 3 more machines", "width:24.0%"))


def test_rows_keep_their_places() -> None:
    """The pool names its machines by their present speed, which changes all the time."""
    rows = tuple(WorkerRow(name, 1, "ready", items_per_second=1.0) for name in ("tower", "laptop"))
    text, html = render.text(Progress(machines=rows), "job"), render.html(Progress(machines=rows), "job")
    assert text.index("laptop") < text.index("tower")
    assert html.index("laptop") < html.index("tower")


def test_data_on_its_way_is_shown_in_text_and_html() -> None:
    progress = Progress(total=9, sending=Sent(412_000_000, 1_200_000_000, 85e6))
    assert render.line(progress, "job") == f"job: [{'.' * 24}] 0 of 9, sending 412 MB of 1.2 GB, 85.0 MB/s"
    assert "sending 412 MB of 1.2 GB, 85.0 MB/s" in render.html(progress, "job")


def test_machines_that_prepare_say_what_they_are_at() -> None:
    one = (WorkerRow("lab-2", 4, "preparing", "fetching 412 MB of 1.2 GB"), WorkerRow("lab-1", 2, "ready"))
    text, html = render.text(Progress(total=9, machines=one), "job"), render.html(Progress(machines=one), "job")
    assert "0 of 9, lab-2: fetching 412 MB of 1.2 GB" in text.splitlines()[0]
    assert "lab-2  4 slots, fetching 412 MB of 1.2 GB" in text
    assert "fetching 412 MB of 1.2 GB" in html
    assert "lab-2" not in render.line(Progress(done=1, total=9, machines=one), "job")
    several = tuple(WorkerRow(f"m{n}", 1, "preparing") for n in range(3))
    assert "3 machines prepare" in render.line(Progress(machines=several), "job")


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ("done", "5 items in 2 s"),
        ("stopped", "--stop-when"),
        ("failed", "failure"),
        ("cancelled", "cancelled"),
        ("refused", "no machine"),
    ],
)
def test_every_outcome_is_said(outcome: str, said: str) -> None:
    done = 5 if outcome == "done" else 3
    ended = Progress(done=done, total=5, elapsed_seconds=2.0, outcome=outcome)  # type: ignore[arg-type]
    assert said in render.line(ended, "job")
    assert said in render.html(ended, "job")
    assert "[" not in render.line(ended, "job")


def test_nothing_from_outside_is_html_or_moves_a_terminal() -> None:
    progress = Progress(
        machines=(WorkerRow(EVIL, 1, "lost", reason=EVIL),), notices=(Notice("j", "warning", EVIL),), outcome=None
    )
    html = render.html(progress, EVIL, EVIL)
    assert "<img" not in html
    assert html.count("&lt;img") == 5
    assert "\x1b" not in render.text(progress, EVIL, "")
    table = Table(EVIL, [EVIL], [[EVIL]], EVIL)
    assert "<img" not in table._repr_html_()
    assert "\x1b" not in repr(Table(EVIL, [EVIL], [[EVIL]]))


def test_many_machines_are_counted() -> None:
    rows = tuple(WorkerRow(f"m{n}", 1, "ready") for n in range(render.MAX_ROWS + 5))
    text = render.text(Progress(machines=rows, more_machines=10), "job")
    assert "and 15 more machines" in text
    assert len(text.splitlines()) == render.MAX_ROWS + 2


def test_the_html_has_no_fixed_colours_without_a_theme_and_no_pixels_across() -> None:
    html = render.html(RUNNING, "primes")
    assert not re.search(r"(?<!-)width:\s*\d+px", html)
    assert "var(--jp-" in html
    assert "<script" not in html
    assert "<style" not in html


@pytest.mark.parametrize(
    ("per_second", "text"), [(12345.6, "12,346/s"), (2.5, "2.5/s"), (0.5, "30.0/min"), (0.001, "3.6/h"), (0, "0.0/s")]
)
def test_rates(per_second: float, text: str) -> None:
    assert render.rate(per_second) == text


def test_the_pools_table() -> None:
    worker = {"name": "laptop", "slots": 4, "busy": 1, "state": "busy", "relative_speed": 1.5, "done": 10, "load": 0.5}
    worker["fit"] = "left out: no pandas"
    worker["machine"] = {"python": "3.11.7", "platform": "linux", "architecture": "x86_64"}
    job = {"id": "ab", "name": "pi", "state": "running", "done": 3, "total": 9, "reason": ""}
    table = pool_table("ws://127.0.0.1:8786", {"workers": [worker], "jobs": [job, {"state": "done"}]})
    text = repr(table)
    assert text.splitlines()[0] == "ws://127.0.0.1:8786: 1 machine, 4 slots, 1 job running"
    assert "laptop" in text
    assert "1.50" in text
    assert "fit (last job)" in text
    assert "left out: no pandas" in text
    assert "job ab  pi: 3 of 9" in text


def test_an_empty_pool_says_what_to_do() -> None:
    assert "%distribute invite" in repr(pool_table("inline", {}))
    assert repr(jobs_table([])) == "0 jobs"
