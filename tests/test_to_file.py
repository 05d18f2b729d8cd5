"""Results that go to a file while kernels die and disks are full: real processes."""

from __future__ import annotations

import csv
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import nbdist

LIMIT_SECONDS = 60.0
COUNT = 3_000
MOST_MORE_BYTES = 60 * 1024**2
pytestmark = pytest.mark.usefixtures("own_embedded_pool")

SCRIPT = """
import os, signal, sys
import nbdist
from nbdist.client.tofile import job as jobs, part, state

moment, to, job_id = int(sys.argv[1]), sys.argv[2], sys.argv[3]
jobs.CHECKPOINT_BYTES, state.COPIED_BYTES = 20_000, 10_000

def dying(method):
    def step(self, *words, **options):
        global moment
        moment -= 1
        if moment == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        done = method(self, *words, **options)
        moment -= 1
        if moment == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return done
    return step

for name in ("append", "put", "drop", "checkpoint", "finish"):
    setattr(part.Part, name, dying(getattr(part.Part, name)))

def work(n):
    import random, time
    time.sleep(random.Random(n).random() * 0.002)
    return [n * n, "x" * (n % 100)]

with nbdist.connect() as pool:
    job = pool.attach(job_id) if job_id else pool.map(work, range(3000), to=to, task_size=11)
    print(job.id, flush=True)
    print(job.result(60).rows)
"""


def run_script(moment: int, to: Path, job_id: str) -> tuple[int, list[str]]:
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(moment), str(to), job_id],
        check=False,
        timeout=LIMIT_SECONDS,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(nbdist.__file__).parents[1])},
    )
    return ended.returncode, ended.stdout.split()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_script_that_is_killed_again_and_again_leaves_the_same_file(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    path = tmp_path / "values.csv"
    job_id = ""
    for _ in range(4):
        code, printed = run_script(rng.randrange(1, 200), path, job_id)
        assert code == -9
        job_id = printed[0] if printed else job_id  # one that died first was attached all the same
        assert not path.exists()
    code, printed = run_script(0, path, job_id)
    assert (code, printed) == (0, [job_id, str(COUNT)])
    work = [[n * n, "x" * (n % 100)] for n in range(COUNT)]
    lines = [f'{n},{n},"[{a}, ""{b}""]"\n' for n, (a, b) in enumerate(work)]
    assert path.read_text() == "index,item,value\n" + "".join(lines)
    assert list(tmp_path.glob("values*")) == [path]


KERNEL = """
import os, signal, sys
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config
config = Config()
config.HistoryManager.enabled = False
shell = InteractiveShell.instance(config=config)
shell.run_line_magic("load_ext", "nbdist")
for cell in {cells!r}:
    shell.run_cell(cell, store_history=True).raise_error()
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def kernel(folder: Path, *cells: str) -> str:
    """Runs cells in a kernel that kills itself at its end; gives what they printed."""
    ended = subprocess.run(
        [sys.executable, "-c", KERNEL.format(cells=cells)],
        check=False,
        timeout=LIMIT_SECONDS,
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(nbdist.__file__).parents[1])},
    )
    assert ended.returncode == -9, ended.stdout + ended.stderr
    return ended.stdout


CELL = "%%distribute n in range(60) --to squares.csv --stats{more}\nimport time\ntime.sleep(0.02)\nn * n"
SHOW = "print('shown', nbdist.last_job.result())"
BEGUN = "while job.progress.done < 5:\n    job.wait(0.02)"


@pytest.mark.parametrize("how", ["same cell", "attach"])
def test_a_notebook_whose_kernel_died_continues_the_file(tmp_path: Path, how: str) -> None:
    kernel(tmp_path, CELL.format(more=" -> job --background"), BEGUN, "open('id', 'w').write(job.id)")
    assert (tmp_path / "squares.csv.part").exists()
    assert not (tmp_path / "squares.csv").exists()
    again = {
        "same cell": CELL.format(more=" -> squares"),
        "attach": f"%distribute attach {(tmp_path / 'id').read_text()}",
    }[how]
    printed = kernel(tmp_path, again, "import nbdist", SHOW)
    assert "shown <ResultFile: 60 rows in squares.csv (" in printed
    rows = list(csv.reader((tmp_path / "squares.csv").open()))
    assert rows == [["index", "n", "value"], *([str(n), str(n), str(n * n)] for n in range(60))]
    assert sorted(file.name for file in tmp_path.iterdir() if file.name.startswith("squares")) == [
        "squares.csv",
        "squares.stats.json",
    ]


def test_known_results_go_to_another_file_without_being_computed(tmp_path: Path) -> None:
    head = "%%distribute n in [3, 4, 5] --to {}\nopen({!r}, 'a').write('.')\nn * n"
    mark = str(tmp_path / "ran")
    cells = [head.format("a.csv", mark), head.format("b.jsonl", mark), "import nbdist", SHOW]
    printed = kernel(tmp_path, *cells)
    assert "its results, not computed again" in printed
    assert (tmp_path / "ran").read_text() == "..."
    assert (tmp_path / "a.csv").read_text() == "index,n,value\n0,3,9\n1,4,16\n2,5,25\n"
    assert len((tmp_path / "b.jsonl").read_text().splitlines()) == 3


def test_a_file_that_is_on_another_machine_is_named(tmp_path: Path) -> None:
    printed = kernel(
        tmp_path,
        "import nbdist, time\npool = nbdist.connect()\n"
        "job = pool.map(lambda n: time.sleep(0.02) or -n, range(50), to='a.csv')\n"
        "while job.progress.done < 5:\n    job.wait(0.02)\nprint('job', job.id)",
    )
    job_id = printed.split("job ")[1].split()[0]
    for file in tmp_path.glob("a.csv*"):
        file.unlink()
    with nbdist.connect() as pool:
        with pytest.warns(RuntimeWarning, match=r"went to .*a\.csv, and nothing unfinished of that is here"):
            job = pool.attach(job_id)
        assert job.result(LIMIT_SECONDS) == [-n for n in range(50)]


def test_memory_does_not_grow_although_the_first_item_comes_last(tmp_path: Path) -> None:
    count = 1_000_000

    def work(n: int) -> str:
        if n == 0:
            import time

            time.sleep(5)
        return f"{n:0100}"

    process = psutil.Process()
    with nbdist.connect() as pool:
        pool.map(abs, range(1000), to=tmp_path / "warm.csv").result(LIMIT_SECONDS)
        before = most = process.memory_info().rss
        job = pool.map(work, range(count), to=tmp_path / "large.csv")
        deadline = time.monotonic() + LIMIT_SECONDS
        while not job.wait(0.05):
            assert time.monotonic() < deadline, job.progress
            most = max(most, process.memory_info().rss)
        assert job.result().rows == count
    print(f"{count:,} rows, {(most - before) / 1e6:.0f} MB more memory")
    assert most - before < MOST_MORE_BYTES
    with (tmp_path / "large.csv").open() as file:
        assert next(file) == "index,item,value\n"
        assert all(line == f"{n},{n},{n:0100}\n" for n, line in enumerate(file))
