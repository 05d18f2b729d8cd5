"""The status page is data and escaped text, whatever the data."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hubs import MACHINE
from hypothesis import given
from hypothesis import strategies as st

from nbdist.driver import Driver
from nbdist.hub.archive import Archive
from nbdist.hub.blobs import BlobStore
from nbdist.hub.limits import Limits
from nbdist.hub.pages.status import MAX_ROWS, login_page, status_page, welcome_page
from nbdist.hub.requests import MAX_DESCRIPTION_BYTES, description
from nbdist.hub.stores import Stores
from nbdist.scheduler.machine import Scheduler
from nbdist.wire.messages import Hello, JobOptions, SubmitJob, WorkerFacts


class Tags(HTMLParser):
    """Counts tags, and checks that they are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: dict[str, int] = {}
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen[tag] = self.seen.get(tag, 0) + 1
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + "|"


def pool(worker_name: str = "laptop", job_name: str = "primes") -> dict[str, Any]:
    """What the real scheduler says of a worker and a job."""
    scheduler = Scheduler(1)
    driver = Driver(scheduler, clock=lambda: 1.0, send=lambda *_: None, call_at=lambda *_: lambda: None)
    driver.receive("n1", Hello("notebook", 1, 1, MACHINE, "n1"))
    driver.receive("w1", Hello("worker", 1, 1, MACHINE, "w1", worker_name, 2))
    driver.receive("w1", WorkerFacts())
    driver.receive("n1", SubmitJob("j1", job_name, MACHINE, JobOptions(), ranges=((0, 1234, 1),)))
    return scheduler.describe(2.0)


def test_the_page_shows_machines_and_jobs() -> None:
    tags = Tags(status_page(pool(), "0.1.0"))
    for text in ("laptop", "3.11.7", "linux x86_64", "primes", "1,234", "1 machines, 2 slots"):
        assert text in tags.text, text
    assert "script" not in tags.seen


@given(st.text(max_size=40), st.text(max_size=40))
def test_names_cannot_become_tags(worker: str, job: str) -> None:
    plain, odd = Tags(status_page(pool(), "1")), Tags(status_page(pool(worker or "x", job), "1"))
    assert odd.seen == plain.seen


@pytest.mark.parametrize("data", [{}, {"workers": [{}], "jobs": [{}], "hub": {}}, {"workers": [{"machine": {}}]}])
def test_missing_facts_are_left_blank(data: dict[str, Any]) -> None:
    Tags(status_page(data, "1"))


def test_long_tables_are_cut_and_say_so() -> None:
    page = status_page({"workers": [{"name": f"w{n}"} for n in range(MAX_ROWS + 7)]}, "1")
    assert "and 7 more" in page


def test_the_other_pages_are_whole() -> None:
    assert "script" in Tags(login_page()).seen
    Tags(welcome_page())


def test_a_description_fits_a_frame_and_counts_what_is_left_out() -> None:
    import json

    small = {"workers": [{"name": "w"}], "jobs": [], "hub": {}}
    assert json.loads(description(small)) == small
    rows = [{"name": "w" * 100, "n": n} for n in range(20_000)]
    data = description({"workers": rows, "jobs": [{"id": 1}], "hub": {"epoch": 3}})
    assert len(data) <= MAX_DESCRIPTION_BYTES
    found = json.loads(data)
    assert found["left_out"] + len(found["workers"]) == 20_000
    assert found["workers"][0] == rows[0]
    assert found["jobs"] == [{"id": 1}]


def test_the_page_says_how_long_and_how_much_is_kept(tmp_path: Path) -> None:
    stores = Stores(BlobStore(tmp_path), Archive(tmp_path), Limits(keep_seconds=7 * 86_400.0))
    page = Tags(status_page({"hub": stores.keeping.describe()}, "1.0"))
    assert "kept for 7d after their end" in page.text
    assert "0.0 GB of results are here; over 10.0 GB" in page.text
    assert "paused when 4.0 GB" in page.text
