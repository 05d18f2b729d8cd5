"""The hub's pages in a real browser: they move, everything in them is text, and who may can stop things there."""

from __future__ import annotations

import contextlib
import random
import re
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

import nbdist
from nbdist.errors import JobCancelledError

pytestmark = pytest.mark.real
LIMIT_SECONDS = 60.0
LIMIT_MS = 1_000 * LIMIT_SECONDS
MACHINE = "<b>lab</b> 🙂"
JOB = "<i>long</i> עברית"
ITEMS = 100_000


def work(x: int) -> int:
    time.sleep(random.Random(x).random() * 0.05)
    if x % 97 == 5:
        raise ValueError(f"<img src=x onerror='window.hacked=1'> item {x}")
    if x % 50 == 0:
        print("printed by", x)
    return x


@pytest.fixture
def pool(start: Any, connect: Callable[..., nbdist.Pool]) -> nbdist.Pool:
    hub = start.hub()
    start.worker(hub.invite, "--slots", "2", "--name", MACHINE)
    pool = connect(hub.connect)
    pool.wait(workers=1, timeout=LIMIT_SECONDS)
    pool.hub = hub  # type: ignore[attr-defined]
    return pool


@contextlib.contextmanager
def page_of(browser: Any, link: str, **options: Any) -> Iterator[Any]:
    """A page that has logged in; nothing may be asked of another host, and nothing may go wrong in it."""
    context = browser.new_context(**options)
    page = context.new_page()
    page.set_default_timeout(LIMIT_MS)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    here = urlsplit(link).netloc
    page.on("request", lambda request: urlsplit(request.url).netloc == here or wrong.append(request.url))
    page.goto(link)
    page.wait_for_selector("h1")
    try:
        yield page
        assert page.evaluate("window.hacked") is None
        assert wrong == []
    finally:
        context.close()


def fits(page: Any) -> bool:
    """Whether the page is no wider than the screen."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def address(pool: nbdist.Pool, path: str = "/") -> str:
    return f"http://{urlsplit(pool.page_link()).netloc}{path}"


def test_the_pool_a_job_and_a_machine(browser: Any, pool: nbdist.Pool, shot: Callable[[Any, str], None]) -> None:
    job = pool.map(work, range(ITEMS), on_error="keep", name=JOB)
    with page_of(browser, pool.page_link(), color_scheme="light") as page:
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name=JOB))
        row.get_by_text("running").wait_for()
        assert page.get_by_role("link", name=MACHINE).count() == 1
        done = row.get_by_role("cell").nth(3)
        page.wait_for_function("cell => Number(cell.textContent.replace(',', '')) > 10", arg=done.element_handle())
        page.get_by_role("img", name=re.compile("items per second: now")).wait_for()
        shot(page, "hub-pool-light")
        row.get_by_role("link", name=JOB).click()
        page.get_by_role("heading", name=JOB).wait_for()
        page.get_by_text("ValueError: <img src=x onerror='window.hacked=1'> item 5", exact=True).wait_for()
        page.get_by_text("printed by 50").wait_for()
        page.wait_for_selector("svg .bar.running")
        assert page.locator("svg .bar.failed").count() > 0
        assert page.title() == f"{JOB}: nbdist"
        page.locator("summary").click()
        history = page.get_by_role("table", name="History of the job")
        history.wait_for()
        for _ in range(2):  # what was opened stays open when new data comes
            with page.expect_response("**/api/view/job?*"):
                pass
        history.wait_for()
        assert page.locator("details[open]").count() == 1
        shot(page, "hub-job-light")
        page.get_by_role("link", name="← the pool").click()
        page.get_by_role("link", name=MACHINE).click()
        page.get_by_role("heading", name=MACHINE).wait_for()
        page.get_by_role("table", name="Slots").get_by_role("link").first.wait_for()
        shot(page, "hub-machine-light")
    job.cancel()


def test_a_phone_in_the_dark_and_a_job_that_is_cancelled_by_keyboard(
    browser: Any, pool: nbdist.Pool, shot: Callable[[Any, str], None]
) -> None:
    job = pool.map(work, range(ITEMS), on_error="keep", name=JOB)
    phone = {"viewport": {"width": 390, "height": 800}, "color_scheme": "dark"}
    with page_of(browser, pool.page_link(), **phone) as page:
        page.get_by_text("running").wait_for()
        assert fits(page)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 24, 27)"
        shot(page, "hub-pool-phone-dark")
        page.goto(address(pool, f"/jobs/{job.id}"))
        page.wait_for_selector("svg.gantt .bar")
        assert fits(page)
        shot(page, "hub-job-phone-dark")
        questions: list[str] = []
        page.on("dialog", lambda dialog: (questions.append(dialog.message), dialog.accept()))
        page.locator("body").press("Tab")
        while not page.evaluate("document.activeElement.textContent === 'Cancel'"):
            assert page.evaluate("document.activeElement !== document.body"), "the button is not reached by Tab"
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        with pytest.raises(JobCancelledError, match="stopped on the hub's page"):
            job.result(LIMIT_SECONDS)
        assert questions == [f"Cancel the job “{JOB}”? Finished results are kept."]
        page.locator(".state.cancelled").wait_for()
        assert page.get_by_role("button").count() == 0


def test_a_machine_leaves_and_its_items_run_elsewhere(browser: Any, start: Any, pool: nbdist.Pool) -> None:
    start.worker(pool.hub.invite, "--slots", "1", "--name", "other")  # type: ignore[attr-defined]
    pool.wait(workers=2, timeout=LIMIT_SECONDS)
    job = pool.map(work, range(300), on_error="keep", name=JOB)
    with page_of(browser, pool.page_link()) as page:
        page.on("dialog", lambda dialog: dialog.accept())
        page.get_by_role("link", name=MACHINE).click()
        page.get_by_role("button", name=f"Let {MACHINE} leave now").click()
        page.get_by_text("this machine is not in the pool (any more)").wait_for()
    assert len(job.result(LIMIT_SECONDS)) == 300
    assert [worker.name for worker in pool.workers] == ["other"]


def test_who_may_only_look_and_who_may_not(browser: Any, pool: nbdist.Pool) -> None:
    job = pool.map(work, range(ITEMS), on_error="keep", name=JOB)
    with page_of(browser, pool.page_link("viewer")) as page:
        page.get_by_text("running").wait_for()
        assert page.get_by_role("button").count() == 0
        page.get_by_role("link", name=JOB).first.click()
        page.get_by_role("heading", name=JOB).wait_for()
        assert page.get_by_role("button").count() == 0
        page.context.clear_cookies()
        page.get_by_text("To see its pool, open a login link").wait_for()  # the page has noticed by itself
        assert page.goto(address(pool)).status == 403
        page.goto(address(pool, "/login#code=wrong"))
        page.get_by_text("this login link was used already or is too old").wait_for()
    job.cancel()


def test_a_hub_that_is_away_is_said_and_found_again(browser: Any, pool: nbdist.Pool) -> None:
    with page_of(browser, pool.page_link()) as page:
        page.get_by_role("link", name=MACHINE).wait_for()
        page.route("**/api/**", lambda route: route.abort())
        page.get_by_text("The hub does not answer: trying again.").wait_for()
        assert page.get_by_role("link", name=MACHINE).is_visible()  # what was known stays
        page.unroute("**/api/**")
        page.get_by_text("The hub does not answer: trying again.").wait_for(state="hidden")
