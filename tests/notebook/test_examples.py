"""The example notebooks: what is saved in them, that they run, and that what they say about results is true."""

from __future__ import annotations

import base64
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

import nbdist
from nbdist import embedded

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
NAMES = ("pi", "primes")
MAX_BYTES = 600_000
RUN_SECONDS = 110
SMALL = {"NBDIST_DEMO_SAMPLES": "30000000", "NBDIST_DEMO_NUMBERS": "1", "NBDIST_DEMO_LIMIT": "300000"}
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
PLOTTED = {"pi": {"all", "errors"}, "primes": {"all", "gaps"}}
"""The cells that leave a picture."""


def cell(notebook: Any, cell_id: str) -> Any:
    return next(each for each in notebook.cells if each.id == cell_id)


def printed(notebook: Any, cell_id: str) -> str:
    return "".join(output.text for output in cell(notebook, cell_id).outputs if output.output_type == "stream")


def outputs(notebook: Any) -> list[tuple[str, Any]]:
    return [(each.id, output) for each in notebook.cells for output in each.get("outputs", ())]


def check_outputs(name: str, notebook: Any) -> None:
    assert not [output.traceback for _, output in outputs(notebook) if output.output_type == "error"]
    assert not [output.text for _, output in outputs(notebook) if output.get("name") == "stderr"]
    bundles = [(cell_id, output.data) for cell_id, output in outputs(notebook) if "data" in output]
    assert all(WIDGET_VIEW not in data and "text/plain" in data for _, data in bundles)
    pictures = {cell_id: base64.b64decode(data["image/png"]) for cell_id, data in bundles if "image/png" in data}
    assert set(pictures) == PLOTTED[name]
    assert all(picture.startswith(b"\x89PNG") for picture in pictures.values())


def check_pi(notebook: Any) -> None:
    """The estimate is within five standard errors."""
    words = printed(notebook, "result").split()
    estimate, error = float(words[3]), float(words[5])
    assert abs(estimate - math.pi) < 5 * error
    assert "the same result everywhere: True" in printed(notebook, "compare")


# --- as they are saved ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_notebook_is_valid_small_and_says_nothing_of_its_author(name: str) -> None:
    text = (NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert len(text.encode()) < MAX_BYTES
    assert not [word for word in ("/home/", "/root", "/Users/", "key=", "C:\\\\") if word in text]
    assert all(each.outputs or not shows(each) for each in notebook.cells if each.cell_type == "code")
    check_outputs(name, notebook)


def shows(code: Any) -> bool:
    """Whether a cell must have left something."""
    return code.source.startswith("%%distribute") or "print(" in code.source


def test_the_saved_results_are_right() -> None:
    check_pi(nbformat.read(NOTEBOOKS / "pi.ipynb", as_version=4))
    primes = nbformat.read(NOTEBOOKS / "primes.ipynb", as_version=4)
    verdicts = printed(primes, "verdict").splitlines()
    assert [line.partition(" ")[2] for line in verdicts[:11]] == ["is prime"] * 11
    assert verdicts[11].startswith("0 factors found")
    assert printed(primes, "small").count("{9: 3, 25: 5, 49: 7, 90000: 2, 97: None}") == 4
    assert "664,579 items" in cell(primes, "count").outputs[0].data["text/plain"]


def test_the_eleven_numbers_are_prime_by_another_method() -> None:
    namespace = run_cells("primes", "load", "block")
    assert len(namespace["numbers"]) == 11
    assert all(passes_miller_rabin(n) for n in namespace["numbers"])
    assert not passes_miller_rabin(943349789 * 943349833)


def passes_miller_rabin(n: int) -> bool:
    """Right for all n below 3.3e24 (Sorenson and Webster, 2015)."""
    twos = (n - 1 & 1 - n).bit_length() - 1
    for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41):
        power = pow(base, (n - 1) >> twos, n)
        if power not in (1, n - 1) and all((power := power * power % n) != n - 1 for _ in range(twos - 1)):
            return False
    return True


# --- as they run ------------------------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.slow
def test_the_demonstration_runs_pi_and_leaves_no_process(tmp_path: Path) -> None:
    assert embedded.running() is None
    done = subprocess.run(
        [sys.executable, str(NOTEBOOKS / "demo.py"), str(tmp_path)],
        env=os.environ | SMALL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=RUN_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert embedded.running() is None
    notebook = nbformat.read(tmp_path / "pi.ipynb", as_version=4)
    check_outputs("pi", notebook)
    check_pi(notebook)
    assert (tmp_path / "pi.png").read_bytes().startswith(b"\x89PNG")
    assert done.stdout.count(printed(notebook, "result").strip()) == 2
    assert "229 items in" in done.stdout


@pytest.mark.real
@pytest.mark.slow
def test_primes_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SMALL.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(NOTEBOOKS / "primes.ipynb", as_version=4)
    try:
        NotebookClient(
            notebook, timeout=RUN_SECONDS, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
        ).execute()
    finally:
        end_embedded_pool()
    check_outputs("primes", notebook)
    assert "499139582359084529 is prime" in printed(notebook, "verdict")
    assert printed(notebook, "small").count("{9: 3, 25: 5, 49: 7, 90000: 2, 97: None}") == 4
    assert "[300000007]" in cell(notebook, "stop").outputs[-1].data["text/plain"]
    assert "25,997 items" in cell(notebook, "count").outputs[0].data["text/plain"]


def end_embedded_pool() -> None:
    if embedded.running() is not None:
        with nbdist.connect() as pool:
            pool.stop_workers()
        embedded.end()


# --- what they say ----------------------------------------------------------------------------------------------------


def run_cells(name: str, *cell_ids: str, **changes: str) -> dict[str, Any]:
    """The names that cells of a notebook define; magics are left out. `changes`: other values for constants."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    namespace: dict[str, Any] = {"__name__": f"cells_of_{name}"}
    for cell_id in cell_ids:
        lines = [line for line in cell(notebook, cell_id).source.splitlines() if not line.startswith("%")]
        lines = [f"{key} = {changes[key]}" if (key := line.partition(" = ")[0]) in changes else line for line in lines]
        exec("\n".join(lines), namespace)
    return namespace


PIECES = 400
SLOW = range(200, 240)
KILLED = 210


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_seeded_pi_is_the_same_on_any_number_of_slots_with_a_kill_and_a_trim(tmp_path: Path) -> None:
    """Some items are slow, which nobody knows when they are handed out: those of one slot are given to another."""
    estimate = run_cells("pi", "load", "piece", ITEM="THROWS")["estimate"]

    def piece(index: int) -> float:
        if index == KILLED and not marker.exists():  # in the first of two jobs
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.02 if index in SLOW else 0)
        return estimate(nbdist.rng())

    streams = (np.random.PCG64(np.random.SeedSequence(7, spawn_key=(index,))) for index in range(PIECES))
    expected = [estimate(np.random.Generator(stream)) for stream in streams]
    for slots in (1, 2, 5):
        marker = tmp_path / f"killed-{slots}"
        with nbdist.connect(workers=slots) as pool:
            pool.wait(slots=slots)
            killed = pool.map(piece, range(PIECES), seed=7, speculate=False)
            assert killed.result() == expected
            whole = pool.map(piece, range(PIECES), seed=7, speculate=False)
            assert whole.result() == expected
            assert "crashed" in pool.explain(killed, KILLED)
            given = [pool.explain(whole, index).count("given") for index in range(PIECES)]
        assert (max(given) > 1) == (slots > 1)


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("slots", [1, 2, 5])
def test_divisors_are_found_on_any_number_of_slots(slots: int) -> None:
    """With blocks of 30 divisors, so that there are several of them for small numbers too."""
    namespace = run_cells("primes", "load", "block", ROWS="1")
    factor, blocks = namespace["factor"], namespace["blocks"]
    numbers = [*range(2, 2001), 9, 25, 49, 90_000, 29**2, 31**2, 59 * 61, 89**2, 899 * 901]
    pairs = [(n, block) for n in numbers for block in blocks(n)]
    with nbdist.connect(workers=slots) as pool:
        found = pool.starmap(factor, pairs).result()
    composite = {n for (n, _), divisor in zip(pairs, found, strict=True) if divisor}
    assert composite == {n for n in numbers if any(n % d == 0 for d in range(2, math.isqrt(n) + 1))}
    assert all(n % divisor == 0 and 1 < divisor < n for (n, _), divisor in zip(pairs, found, strict=True) if divisor)


def test_the_notebooks_have_an_id_for_each_cell() -> None:
    for name in NAMES:
        cells = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
        ids = [each["id"] for each in cells]
        assert len(set(ids)) == len(ids)
