"""An interrupt really stops the pool; and what scripts and kernels leave behind: nothing."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from kernels import Kernel

pytestmark = pytest.mark.real
LIMIT_SECONDS = 60.0

SLEEP = "time.sleep(0.05)"
LOOP = "any(False for _ in range(300_000))"
C_CODE = "pow(3, 10**6, 10**6 + 3); sorted(range(300_000), key=str)"
HEARTBEAT = """
def beat(x, folder):
    import os
    with open(os.path.join(folder, str(os.getpid())), "a") as file:
        file.write(f"{x}\\n")
"""


def eventually(condition: Callable[[], Any]) -> Any:
    """What the condition gives once it is true."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def beats(folder: Path) -> int:
    """How many items have begun."""
    return sum(path.read_text().count("\n") for path in folder.iterdir())


# --- scripts ----------------------------------------------------------------------------------------------------------

SCRIPT = (
    HEARTBEAT
    + """
import sys, time, nbdist
folder = sys.argv[1]
def work(x):
    beat(x, folder)
    {work}
    return x
pool = nbdist.connect(workers=2)
job = pool.map(work, range(10**9))
try:
    print("running", flush=True)
    job.result()
except KeyboardInterrupt:
    print("interrupted", job.outcome, len(job.values) > 0, flush=True)
print("next", pool.map(abs, [-1, -2]).result(60), sum(row["busy"] for row in pool.describe()["workers"]), flush=True)
sys.stdin.read()
"""
)


@pytest.mark.parametrize("work", [SLEEP, LOOP, C_CODE], ids=["sleep", "loop", "C code"])
def test_an_interrupted_script_stops_its_pool(start: Any, tmp_path: Path, work: str) -> None:
    folder = tmp_path / "beats"
    folder.mkdir()
    script = start.script(SCRIPT.replace("{work}", work), str(folder))
    script.line("running")
    eventually(lambda: beats(folder) > 4)
    script.popen.send_signal(signal.SIGINT)
    script.line("interrupted cancelled True")
    begun = beats(folder)
    script.line(r"next <Values: 2 items \[1, 2\]> 0")
    assert beats(folder) == begun


def test_a_script_that_is_killed_leaves_no_process(start: Any, tmp_path: Path) -> None:
    folder = tmp_path / "beats"
    folder.mkdir()
    script = start.script(SCRIPT.replace("{work}", SLEEP), str(folder))
    eventually(lambda: beats(folder) > 4)
    family = script.family()
    assert len(family) >= 4
    os.kill(script.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(family, timeout=LIMIT_SECONDS)
    assert not alive


def test_a_script_without_a_guard(start: Any) -> None:
    script = start.script(
        "import nbdist\n"
        "print('imported')\n"
        "def square(x):\n    return x * x\n"
        "pool = nbdist.connect(workers=2)\n"
        "print(sum(pool.map(square, range(1000)).result()))\n"
    )
    assert script.wait() == 0
    assert script.text.split() == ["imported", str(sum(x * x for x in range(1000)))]
    assert not script.family()


def test_a_script_that_forgets_its_job(start: Any) -> None:
    script = start.script(
        "import nbdist, sys, time\npool = nbdist.connect(workers=2)\njob = pool.map(time.sleep, [1000] * 8)\n"
        "while not any(row['busy'] for row in pool.describe()['workers']):\n    job.wait(0.01)\n"
        "print('end', flush=True)\nsys.stdin.readline()\n"
    )
    script.line("end")
    family = script.family()
    assert len(family) >= 4
    assert script.popen.stdin is not None
    script.popen.stdin.write("\n")
    script.popen.stdin.flush()
    assert script.wait() == 0
    _, alive = psutil.wait_procs(family, timeout=LIMIT_SECONDS)
    assert not alive


# --- kernels ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def kernels(tmp_path: Path, own_pool: None) -> Iterator[Callable[[], Kernel]]:
    """Makes kernels; all use the embedded pool of this test."""
    with contextlib.ExitStack() as running:

        def make() -> Kernel:
            kernel = Kernel(tmp_path)
            running.callback(kernel.close)
            return kernel

        yield make


CELL = """%%distribute n in range(10**9)
beat(n, folder)
{work}
n"""


@pytest.mark.parametrize("work", [SLEEP, LOOP, C_CODE], ids=["sleep", "loop", "C code"])
def test_an_interrupted_cell_stops_the_pool(kernels: Callable[[], Kernel], tmp_path: Path, work: str) -> None:
    folder = tmp_path / "beats"
    folder.mkdir()
    kernel = kernels()
    status, text = kernel.run(f"%load_ext nbdist\nimport time, nbdist\nfolder = {str(folder)!r}\n{HEARTBEAT}")
    assert status == "ok", text
    request = kernel.start(CELL.format(work=work))
    eventually(lambda: beats(folder) > 4)
    kernel.interrupt()
    status, text = kernel.finish(request)
    assert status == "KeyboardInterrupt"
    assert "nothing of the job runs any more" in text
    assert "nbdist.last_job.values" in text
    begun = beats(folder)
    status, text = kernel.run("%%distribute n in range(4)\nn * n")
    assert (status, "[0, 1, 4, 9]" in text) == ("ok", True), text
    assert beats(folder) == begun
    assert kernel.value("nbdist.last_job.outcome") == "'done'"


def test_a_second_interrupt_returns_at_once(kernels: Callable[[], Kernel], tmp_path: Path) -> None:
    folder = tmp_path / "beats"
    folder.mkdir()
    kernel = kernels()
    kernel.run(f"%load_ext nbdist\nimport time, nbdist\nfolder = {str(folder)!r}\n{HEARTBEAT}")
    stubborn = "while True:\n    try:\n        time.sleep(1)\n    except BaseException:\n        pass\n"
    request = kernel.start(CELL.format(work=stubborn.rstrip()))
    eventually(lambda: beats(folder) >= 1)
    kernel.interrupt()
    kernel.interrupt()
    status, text = kernel.finish(request)
    assert status == "KeyboardInterrupt", text
    assert kernel.value("1 + 1") == "2"
    # what ignores the interrupt is killed after its grace, and the next cell is right
    status, text = kernel.run("%%distribute n in range(4)\nn * n")
    assert (status, "[0, 1, 4, 9]" in text) == ("ok", True), text


@pytest.mark.slow
def test_kernels_share_one_pool(kernels: Callable[[], Kernel]) -> None:
    first, second = kernels(), kernels()
    cell = "%load_ext nbdist\nimport nbdist\npool = nbdist.connect()\npool.wait(workers=1)"
    requests = [first.start(cell), second.start(cell)]
    assert [kernel.finish(request)[0] for kernel, request in zip((first, second), requests, strict=True)] == ["ok"] * 2
    assert first.value("pool.address") == second.value("pool.address")
    assert len(re.findall("hub", " ".join(hub_lines()))) >= 1
    assert len(hub_lines()) == 1
    third = kernels()
    assert third.run(cell)[0] == "ok"
    assert third.value("pool.address") == first.value("pool.address")
    assert third.value("len(pool.workers)") == "1"
    for kernel in (first, second, third):
        status, text = kernel.run("%%distribute n in range(4)\nn * n")
        assert (status, "[0, 1, 4, 9]" in text) == ("ok", True), text


def hub_lines() -> list[str]:
    """The command lines of the hubs in this test's runtime directory."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if "hub" in words and any(os.environ["JUPYTER_RUNTIME_DIR"] in word for word in words):
                found.append(" ".join(words))
    return found


def test_an_interrupt_ends_the_demonstration_and_its_job(own_pool: None, start: Any, connect: Any) -> None:
    demo = start.nbdist("demo", "--samples", "4000000000")
    demo.line(r"items/s")
    os.kill(demo.pid, signal.SIGINT)
    assert demo.wait() == 130
    assert demo.lines[-1] == "nbdist: interrupted\n"
    assert "Traceback" not in demo.text
    jobs = connect().jobs
    assert (jobs[0].state, jobs[0].reason) == ("cancelled", "interrupted")
