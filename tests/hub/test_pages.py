"""The hub's pages: their data, who may look, who may stop something, and what machines read."""

from __future__ import annotations

import json
import re
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hubs import WithHub

from nbdist.hub.pages import doors
from nbdist.hub.pages.metrics import metrics
from nbdist.hub.pages.recording import MAX_SAMPLES, MAX_TAIL_CHARS, MAX_TAILS, Tails, Throughput
from nbdist.wire import messages as m

JSON = {"Content-Type": "application/json"}


# --- pure -------------------------------------------------------------------------------------------------------------


def test_throughput_is_what_was_done_between_two_looks() -> None:
    seen = Throughput()
    assert (seen.rows(0.0), seen.latest) == ([], 0.0)
    seen.note(10.0, 100, 2, 4)
    seen.note(12.0, 150, 3, 4)
    seen.note(14.0, 150, 0, 4)
    assert seen.rows(15.0) == [[3.0, 25.0, 3, 4], [1.0, 0.0, 0, 4]]
    assert seen.latest == 0.0
    for second in range(16, 16 + 2 * MAX_SAMPLES):
        seen.note(float(second), second, 1, 1)
    assert len(seen.rows(0.0)) == MAX_SAMPLES


def test_tails_keep_the_end_of_what_was_printed_by_the_last_jobs() -> None:
    tails = Tails()
    tails.add("j", "w", 1, "first\n")
    tails.add("j", "w", 2, "x" * (MAX_TAIL_CHARS - 3))
    assert tails.of("j") == {"pieces": [("w", 2, "x" * (MAX_TAIL_CHARS - 3))], "is_cut": True}
    tails.add("j", "w", 3, "y" * 2 * MAX_TAIL_CHARS)
    assert tails.of("j") == {"pieces": [("w", 3, "y" * MAX_TAIL_CHARS)], "is_cut": True}
    for number in range(MAX_TAILS):
        tails.add(f"other {number}", "w", 0, "z")
    assert tails.of("j") == {"pieces": [], "is_cut": False}


def test_metrics_are_lines_that_prometheus_reads() -> None:
    pool = {
        "workers": [{}, {}],
        "jobs": [{"state": "running"}, {"state": "done"}, {"state": "done"}, {"state": 'o"d\\d\n'}],
        "hub": {"slots": 8, "busy": 3, "queued": 70, "items_done": 12, "notebooks": 1, "epoch": 2, "results_bytes": 5},
    }
    text = metrics(pool, 2.5, "0.1.0")
    line = re.compile(r'(# (HELP|TYPE) nbdist_\w+ .+|nbdist_\w+(\{\w+="([^"\\\n]|\\.)*"(,\w+="[^"]*")*\})? [\d.e+-]+)')
    assert all(line.fullmatch(each) for each in text.splitlines()), text
    for expected in (
        "nbdist_machines 2",
        "nbdist_slots_busy 3",
        "nbdist_items_total 12",
        "nbdist_items_per_second 2.5",
        'nbdist_jobs{state="done"} 2',
        'nbdist_jobs{state="cancelled"} 0',
        'nbdist_jobs{state="o\\"d\\\\d\\n"} 1',
        'nbdist_info{version="0.1.0",start="2"} 1',
    ):
        assert expected in text.splitlines()


def test_nothing_is_fetched_from_elsewhere_or_parsed_as_html() -> None:
    files = list(doors.ASSETS.iterdir())
    assert {path.name for path in files} >= {"app.js", "charts.js", "dom.js", "login.js", "style.css", "icon.svg"}
    for path in files:
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text, path
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", text), (
            path
        )


# --- doors ------------------------------------------------------------------------------------------------------------


async def log_in(hub: Any, role: str) -> dict[str, str]:
    """The header that a browser sends which has come by a link for this role."""
    body = json.dumps({"role": role}).encode()
    status, answer, _ = await hub.request("POST", "/api/login", hub.hub.keys.notebook, body)
    assert status == 200
    code = json.dumps({"code": json.loads(answer)["path"].split("=")[1]}).encode()
    cookie = (await hub.request("POST", "/login", body=code))[2]["Set-Cookie"]
    return {"Cookie": cookie.split(";")[0]}


@asynccontextmanager
async def pool_with_a_job(hub: Any) -> Any:
    """A machine at work on the first items of a job; one item has failed, and something was printed."""
    async with (
        hub.client("worker", "w1", slots=2, name="<b>lab</b>") as worker,
        hub.client("notebook", "n1") as notebook,
    ):
        await worker.send(m.WorkerFacts())
        machine = m.Machine("host", "linux", "x86_64", "3.11.7", "cpython", "0.1.0")
        options = m.JobOptions(task_size=2, on_error="keep")
        await notebook.send(m.SubmitJob("j1", "<i>job</i>", machine, options, ranges=((0, 10, 1),)), b"task")
        prepare, _ = await worker.until(m.PrepareJob)
        await worker.send(m.JobReady(prepare.job))
        run, _ = await worker.until(m.RunSlice)
        await worker.send(m.Output("j1", run.attempt, 0, "stdout"), "läuft <b>".encode())
        part = m.Part("j1", run.attempt, 0, 2, 0.1, True, failed=(1,), reasons=("ValueError: <script>",))
        await worker.send(part, b"results")
        await notebook.until(m.Result)
        yield worker, notebook


def test_pages_tell_who_is_not_logged_in_how_to(with_hub: WithHub) -> None:
    async def scenario(hub: Any) -> None:
        for path in ("/", "/jobs/j1", "/machines/w1", "/plain"):
            for headers in ({}, {"Cookie": f"nbdist-{hub.hub.keys.hub[:12]}=expired"}):
                status, page, _ = await hub.request("GET", path, **headers)
                assert (status, b"%distribute web" in page) == (403, True)
            assert (b"expired" in page) is True
            assert (await hub.request("GET", path, hub.worker_key("w1")))[0] == 403
        for path in ("/api/view/pool", "/api/view/job?id=j1", "/api/view/machine?id=w1", "/metrics"):
            assert (await hub.request("GET", path))[0] == 401
            assert (await hub.request("GET", path, hub.worker_key("w1")))[0] == 403

    with_hub(scenario)


def test_the_data_of_pages(with_hub: WithHub) -> None:
    async def scenario(hub: Any) -> None:
        async with pool_with_a_job(hub):
            viewer = await log_in(hub, "viewer")
            assert (await hub.request("GET", "/jobs/j1", **viewer))[0] == 200
            hub.hub.view.sample()
            pool = json.loads((await hub.request("GET", "/api/view/pool", **viewer))[1])
            assert (pool["may_stop"], pool["hub"]["items_done"], pool["hub"]["queued"]) == (False, 2, 2)
            assert [event["kind"] for event in pool["events"]] == ["submitted", "joined"]
            job = json.loads((await hub.request("GET", "/api/view/job?id=j1", **viewer))[1])
            assert (job["job"]["name"], job["job"]["failed"]) == ("<i>job</i>", 1)
            assert job["failures"] == [{"item": 1, "worker": "<b>lab</b>", "text": "ValueError: <script>"}]
            assert job["output"] == {"pieces": [["<b>lab</b>", 0, "läuft <b>"]], "is_cut": False}
            assert sorted(bar[7] for bar in job["timeline"]["bars"]) == ["failed", "running", "running"]
            assert [event["kind"] for event in job["events"]][:3] == ["submitted", "ready", "given"]
            machine = json.loads((await hub.request("GET", "/api/view/machine?id=w1", **viewer))[1])
            assert (machine["worker"]["name"], machine["jobs"][0]["id"]) == ("<b>lab</b>", "j1")
            assert [slot["job"] for slot in machine["slots"]] == ["j1", "j1"]
            for path in ("job?id=other", "job", "machine?id=other", "machine?id="):
                assert (await hub.request("GET", f"/api/view/{path}", **viewer))[0] == 404
            status, text, headers = await hub.request("GET", "/metrics", hub.hub.keys.notebook)
            assert (status, b"nbdist_items_total 2\n" in text) == (200, True)
            assert headers["Content-Type"].startswith("text/plain; version=0.0.4")

    with_hub(scenario)


def test_only_a_notebooks_link_lets_a_browser_stop_something(with_hub: WithHub) -> None:
    async def scenario(hub: Any) -> None:
        async with pool_with_a_job(hub) as (worker, _):
            viewer, owner = await log_in(hub, "viewer"), await log_in(hub, "notebook")
            job, machine = json.dumps({"job": "j1"}).encode(), json.dumps({"machine": "w1", "at_once": True}).encode()
            for path, body in (("/api/stop/job", job), ("/api/stop/machine", machine)):
                assert (await hub.request("POST", path, body=body, **JSON))[0] == 403
                status, answer, _ = await hub.request("POST", path, body=body, **viewer, **JSON)
                assert (status, b"--web" in answer) == (403, True)
                assert (await hub.request("POST", path, body=body, **owner))[0] == 415  # as a form would
                elsewhere = {"Origin": "http://evil.example"}
                assert (await hub.request("POST", path, body=body, **owner, **JSON, **elsewhere))[0] == 403
                assert (await hub.request("POST", path, body=b"{}", **owner, **JSON))[0] == 404
                assert (await hub.request("GET", path, **owner))[0] == 405
            assert not [each for each, _ in worker.log if isinstance(each, m.CancelAttempt | m.LeavePool)]
            assert (await hub.request("POST", "/api/stop/machine", body=machine, **owner, **JSON))[0] == 200
            assert (await worker.until(m.LeavePool))[0].reason == doors.BY_PAGE
            await worker.until(m.CancelAttempt)
            assert (await hub.request("POST", "/api/stop/job", body=job, **owner, **JSON))[0] == 200
            await worker.send(m.Leaving())
            async with hub.client("notebook", "n2") as other:
                await other.send(m.MakeLogin(1, "worker"))
                assert "viewer" in (await other.until(m.Answer))[0].error
            view = json.loads((await hub.request("GET", "/api/view/job?id=j1", **owner))[1])
            assert view["job"]["state"] in ("stopping", "cancelled")
            assert view["job"]["reason"] == doors.BY_PAGE

    with_hub(scenario)


@pytest.mark.parametrize("name", ["app.js", "style.css"])
def test_files_of_pages(with_hub: WithHub, name: str) -> None:
    async def scenario(hub: Any) -> None:
        status, text, headers = await hub.request("GET", f"/assets/{name}")
        assert (status, text) == (200, (Path(doors.ASSETS) / name).read_bytes())
        assert headers["X-Content-Type-Options"] == "nosniff"
        for other in ("doors.py", "..%2fdoors.py", "missing.js", "icon.png"):
            assert (await hub.request("GET", f"/assets/{other}"))[0] == 404

    with_hub(scenario)
