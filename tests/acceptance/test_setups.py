"""Setup cells on real machines: once in each slot, again in a new one, also on a machine that joins later."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import start_new_kernel

import nbdist
from nbdist.errors import JobRefusedError

pytestmark = pytest.mark.real
LIMIT_SECONDS = 60.0

SETUP = """%%distribute --setup --name model
import os, pathlib
with open({folder!r} + f"/{{os.getpid()}}", "a") as file:
    file.write("ran ")
model = {{"pid": os.getpid(), "factor": {factor}}}
"""
ITEMS = (
    "%%distribute n in range({count}) -> {name} --fresh\nimport time\ntime.sleep(0.05)\n"
    "(n * model['factor'], model['pid'])"
)


class Runs:
    """What setups have noted in a folder: a file for each process, a word for each run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def counts(self) -> dict[int, int]:
        return {int(file.name): len(file.read_text().split()) for file in self.folder.iterdir()}

    def cell(self, factor: int = 1) -> str:
        return SETUP.format(folder=str(self.folder), factor=factor)


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "runs")


def items(notebook: Any, count: int = 12) -> tuple[list[int], set[int]]:
    """Runs a cell that uses the setup's name; gives its values and the processes that ran it."""
    notebook.run(ITEMS.format(count=count, name="values"))
    return [value for value, _ in notebook["values"]], {pid for _, pid in notebook["values"]}


@pytest.fixture
def pool(start: Any, connect: Any, notebook: Any) -> Any:
    """A hub with one worker of two slots, which the notebook is connected to: (hub, worker, pool)."""
    hub = start.hub("--port", "0")
    worker = start.worker(hub.invite, "--slots", "2", "--name", "first")
    pool = connect(hub.connect)
    pool.wait(workers=1, timeout=LIMIT_SECONDS)
    return hub, worker, pool


def until_so_many_have_run(notebook: Any, runs: Runs, count: int, times: int = 1, factor: int = 1) -> set[int]:
    """Runs cells until so many slots have run the setup so often, each of them; a slot may take a while to start."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while True:
        values, pids = items(notebook)
        assert values == [factor * n for n in range(12)]
        counts = runs.counts()
        assert max(counts.values()) == times
        if list(counts.values()) == [times] * count:
            return pids
        assert time.monotonic() < deadline, counts


def test_it_runs_once_in_each_slot_and_a_changed_one_again(notebook: Any, pool: Any, runs: Runs) -> None:
    notebook.run(runs.cell())
    assert not runs.counts()
    for _ in range(2):
        pids = until_so_many_have_run(notebook, runs, 2)
    assert pids <= runs.counts().keys()
    notebook.run(runs.cell(factor=10))
    until_so_many_have_run(notebook, runs, 2, times=2, factor=10)


def test_it_runs_again_where_a_slot_was_killed(notebook: Any, pool: Any, runs: Runs) -> None:
    notebook.run(runs.cell())
    pids = until_so_many_have_run(notebook, runs, 2)
    os.kill(min(pids), signal.SIGKILL)
    until_so_many_have_run(notebook, runs, 3)


def test_a_slot_that_dies_while_items_run_sets_up_before_it_goes_on(notebook: Any, pool: Any, runs: Runs) -> None:
    notebook.run(
        runs.cell(),
        "%%distribute n in range(60) -> job --background\nimport os, time\ntime.sleep(0.05)\n"
        f"while n >= 40 and len(os.listdir({str(runs.folder)!r})) < 3: time.sleep(0.01)\n"  # for the new slot
        "model['pid']",
    )
    job = notebook["job"]
    _until(lambda: len(runs.counts()) == 2 and job.progress.done > 4)
    os.kill(min(runs.counts()), signal.SIGKILL)
    pids = set(job.result(LIMIT_SECONDS))
    assert len(runs.counts()) == 3
    assert pids <= runs.counts().keys()
    assert set(runs.counts().values()) == {1}
    assert not job.failures


def test_a_machine_that_joins_later_runs_it_too(notebook: Any, pool: Any, runs: Runs, start: Any) -> None:
    hub, _, here = pool
    notebook.run(runs.cell(), ITEMS.format(count=200, name="job --background"))
    job = notebook["job"]
    _until(lambda: job.progress.done > 4)
    start.worker(hub.invite, "--slots", "1", "--name", "second")
    here.wait(workers=2, timeout=LIMIT_SECONDS)
    assert [value for value, _ in job.result(LIMIT_SECONDS)] == list(range(200))
    assert job.stats["machines"].keys() == {"first", "second"}
    assert set(runs.counts().values()) == {1}
    assert len(runs.counts()) == 3


def test_its_output_says_which_machine(notebook: Any, pool: Any) -> None:
    notebook.run("%%distribute --setup --name model\nprint('loading')", "%%distribute n in range(2)\nprint('item', n)")
    lines = notebook.printed.splitlines()
    assert "[setup 'model' on first] loading" in lines
    assert {"item 0", "item 1"} <= set(lines)


def test_an_interrupt_ends_a_setup_and_the_next_cell_runs_it_anew(notebook: Any, pool: Any, runs: Runs) -> None:
    notebook.run(runs.cell().replace("model =", "import time\ntime.sleep(600)\nmodel ="))

    def interrupt() -> None:
        _until(lambda: len(runs.counts()) == 2)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    assert isinstance(notebook.fail("%%distribute n in range(20)\nn"), KeyboardInterrupt)
    notebook.run(runs.cell())
    until_so_many_have_run(notebook, runs, 2, times=2)


def test_one_that_fails_ends_the_job_at_once(notebook: Any, pool: Any) -> None:
    notebook.run("%%distribute --setup --name data\n\nopen('/nowhere/at all')")
    error = notebook.fail("%%distribute n in range(1000)\nn")
    assert isinstance(error, JobRefusedError)
    assert "first: setup 'data', line 3: FileNotFoundError" in str(error)
    assert "Cell In[1], line 3" in "\n".join(error._render_traceback_())  # type: ignore[attr-defined]
    notebook.run("%%distribute --setup --name data\ndata = 3")
    assert notebook.run("%%distribute n in range(2)\ndata") == [3, 3]


def test_one_that_ends_its_process_blames_no_item(notebook: Any, pool: Any) -> None:
    notebook.run("%%distribute --setup --name data\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    error = notebook.fail("%%distribute n in range(1000)\nn")
    assert isinstance(error, JobRefusedError)
    assert "setup 'data' has ended its process 3 times in a row: killed by SIGKILL" in str(error)


def test_values_of_the_environment_are_nowhere_to_be_seen(
    notebook: Any, pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, worker, here = pool
    monkeypatch.setenv("NBDIST_SECRET", "sesame-5518")
    cell = "%%distribute n in range(4) --env NBDIST_SECRET\nimport os\nlen(os.environ['NBDIST_SECRET'])"
    assert notebook.run(cell) == [11] * 4
    assert notebook.run("%%distribute\nimport os\nos.environ.get('NBDIST_SECRET')") is None
    told = f"{here.describe()} {here.explain(nbdist.last_job, 0)} {notebook.printed}"
    assert "sesame" not in told + hub.process.text + worker.text


def _until(condition: Any) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)  # what happens in another process: nobody tells


# --- a real kernel ----------------------------------------------------------------------------------------------------


def test_in_a_kernel_an_edited_cell_replaces_itself() -> None:
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        cells = [
            ("a", "%load_ext nbdist\n_ = __import__('nbdist').connect('inline')"),
            ("b", "%%distribute --setup\nstate = 1"),
            ("b", "%%distribute --setup\nstate = 20"),
            ("c", "%%distribute --setup\nmore = state + 1"),
            ("d", "%%distribute n in range(2)\nprint(state, more)"),
        ]
        printed = [_execute(client, cell_id, text) for cell_id, text in cells]
        assert "setup 'cell 3' (1 of 1)" in printed[2]
        assert "setup 'cell 4' (2 of 2)" in printed[3]
        assert printed[4].startswith("20 21\n20 21\n")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def _execute(client: Any, cell_id: str, text: str) -> str:
    """Runs a cell as JupyterLab does, with its id; gives what it prints."""
    content = {"code": text, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
    request = client.session.msg("execute_request", content, metadata={"cellId": cell_id})
    client.shell_channel.send(request)
    printed = ""
    while True:
        message = client.get_iopub_msg(timeout=LIMIT_SECONDS)
        if message["parent_header"].get("msg_id") != request["header"]["msg_id"]:
            continue
        assert message["msg_type"] != "error", message["content"]
        if message["msg_type"] == "stream":
            printed += message["content"]["text"]
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            return printed
