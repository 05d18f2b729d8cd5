"""A notebook that is run again after its kernel has died shows what it had computed: real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LIMIT_SECONDS = 60.0
OFFERED = "its results, not computed again"
RUNS_STILL = "still runs: attached to it"
pytestmark = [pytest.mark.real, pytest.mark.usefixtures("own_embedded_pool")]


PROGRAM = """
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


def kernel(*cells: str, seed: int) -> str:
    """Runs cells in a kernel that kills itself at its end; gives what they printed. `seed`: of Python's hashes."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(cells=cells)],
        env=os.environ | {"PYTHONHASHSEED": str(seed)},
        check=False,
        timeout=LIMIT_SECONDS,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == -9, ended.stdout + ended.stderr
    return ended.stdout


def ran(tmp_path: Path) -> set[str]:
    """The items that have run so far; on a busy machine one may have had a copy."""
    return set((tmp_path / "marks").read_text().split())


def notebook(tmp_path: Path) -> list[str]:
    """Cells whose items leave marks when they run."""
    marks = str(tmp_path / "marks")
    return [
        "import time, numpy as np\nweights = np.arange(300_000.0)\nnames = {'a', 'b', 'c'}",
        f"def mark(x):\n    with open({marks!r}, 'a') as file:\n        file.write(f'{{x}} ')\n    return x",
        "%%distribute n in range(20) -> values\nmark(n) + int(weights[n]) if 'a' in names else 0",
        "%%distribute n in [1, 2, 3] --reduce sum -> total\nmark(n + 100) - 100",
        "print('values', list(values), values.dict()[3], 'total', total)",
    ]


def test_run_all_after_the_kernel_was_killed_computes_nothing(tmp_path: Path) -> None:
    cells = notebook(tmp_path)
    expected = f"values {[2 * n for n in range(20)]} 6 total 6"
    first = kernel(*cells, seed=1)
    assert expected in first
    assert OFFERED not in first
    assert len(ran(tmp_path)) == 23
    (tmp_path / "marks").write_text("")
    again = kernel(*cells, seed=2)
    assert expected in again
    assert again.count(OFFERED) == 2
    assert ran(tmp_path) == set()
    cells[0] = cells[0].replace("300_000.0", "300_000.0) + (np.arange(300_000) == 299_999")  # one of its elements
    changed = kernel(*cells, seed=3)
    assert expected in changed
    assert changed.count(OFFERED) == 1
    assert len(ran(tmp_path)) == 20


def test_a_killed_hub_still_offers_them(tmp_path: Path) -> None:
    cells = notebook(tmp_path)
    kernel(
        *cells,
        "import json, os, signal\nfrom nbdist import embedded\n"
        'os.kill(json.loads((embedded.state_folder() / "ready.json").read_text())["pid"], signal.SIGKILL)',
        seed=1,
    )
    assert len(ran(tmp_path)) == 23
    (tmp_path / "marks").write_text("")
    assert kernel(*cells, seed=2).count(OFFERED) == 2
    assert ran(tmp_path) == set()


def test_a_cell_whose_kernel_was_killed_goes_on_where_it_is(tmp_path: Path) -> None:
    go = str(tmp_path / "go")
    define = notebook(tmp_path)[1]
    cell = (
        "%%distribute n in [*range(100)] -> job --background\nimport os, time\n"
        f"while n >= 50 and not os.path.exists({go!r}): time.sleep(0.01)\nmark(n)"
    )
    kernel(define, cell, "while job.progress.done < 10: job.wait(0.02)", seed=1)
    result = "values = job.result()\nprint('values', list(values), values.dict()[7])"
    again = kernel(define, cell, f"open({go!r}, 'w').close()", result, seed=2)
    assert RUNS_STILL in again
    assert f"values {list(range(100))} 7" in again
    assert len(ran(tmp_path)) == 100
    assert OFFERED in kernel(define, cell, seed=3)
