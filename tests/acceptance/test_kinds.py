"""Every kind of function and value in a real pool: the same result as a plain call, or a named refusal before the run.

The table is that of `portable_rows.py`, and `pool_cells.txt` for what needs packages, local modules, or is refused.
Each row is run in an IPython shell, by `pool.starmap` and by a distributed cell, on a machine of each version of
Python. What a row says besides `f` and its `args` (3, if there are none):

needs = "numpy"               the packages that the machine must have
refused = "a pattern"         the reason why it cannot travel
refused_elsewhere = "…"       the reason why it cannot go to another version of Python
compare = False               equal text is enough
same(found, expected)         whether they are the same
close()                       what is done in the end
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from portable_rows import Row, rows, rows_of
from pythons import HERE, VERSIONS, furnished, lacking, missing

import nbdist
from nbdist.errors import NbdistError
from notebooks import Notebook

pytestmark = [pytest.mark.real, pytest.mark.timeout(60)]
LIMIT_SECONDS = 20.0
SUPPORT = Path(__file__).resolve().parents[1] / "support"
ROWS = [*rows(), *rows_of(SUPPORT / "pool_cells.txt")]
THERE = [version for version in VERSIONS if furnished(version)]
TABLE = [row for row in ROWS if row.since <= sys.version_info[:2]]
"""Those that this version can define."""


@pytest.fixture(scope="module")
def machines(start_once: Any) -> dict[str, str]:
    """A hub and a worker of each version that is here: version -> the interpreter. Its address is under `hub`."""
    hub = start_once.hub("--port", "0")
    with urlopen(f"http://{hub.netloc}/worker.pyz", timeout=LIMIT_SECONDS) as answer:
        file = start_once.folder / "nbdist-worker.pyz"
        file.write_bytes(answer.read())
    found = {version: str(furnished(version)) for version in THERE}
    for version, path in found.items():
        words = ("--slots", "1", "--name", f"py{version}")
        if version == HERE:
            start_once.worker(hub.invite, *words)
        else:
            start_once.run(path, file, *words, env={"NBDIST_INVITE": hub.invite, "PYTHONPATH": ""})
    return found | {"hub": hub.connect}


@pytest.fixture(scope="module")
def pool(machines: dict[str, str]) -> Iterator[nbdist.Pool]:
    with nbdist.connect(machines["hub"]) as found:
        found.wait(workers=len(machines) - 1, timeout=LIMIT_SECONDS)
        yield found


@pytest.fixture
def notebook(pool: nbdist.Pool, notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    """A notebook beside which the local modules lie."""
    monkeypatch.syspath_prepend(str(SUPPORT / "kinds"))
    yield notebook
    if "close" in notebook:
        notebook["close"]()


def given(names: dict[str, Any]) -> Any:
    """What a plain call gives or raises."""
    try:
        return names["f"](*names["args"])
    except Exception as error:  # noqa: BLE001 - whatever the function raises
        return error


def mapped(pool: nbdist.Pool, names: dict[str, Any], needs: str) -> Any:
    """What the pool gives or raises. A machine that is left out ends it: a RuntimeWarning with the reason."""
    job = pool.starmap(names["f"], [names["args"]], needs=needs)
    with warnings.catch_warnings(action="error", category=RuntimeWarning):
        try:
            return job.result(LIMIT_SECONDS)[0]
        except RuntimeWarning:
            job.cancel()
            assert job.progress.done == 0
            raise
        except Exception as error:  # noqa: BLE001 - whatever the function raises
            return error


def distributed(notebook: Notebook, needs: str) -> Any:
    """What a distributed cell gives or raises."""
    try:
        notebook.run(f"%%distribute row in [args] --fresh --needs {needs} -> found\nf(*row)")
    except Exception as error:  # noqa: BLE001 - whatever the function raises
        return error
    return notebook["found"][0]


def check_same(found: Any, expected: Any, names: dict[str, Any]) -> None:
    __tracebackhide__ = True
    if isinstance(found, NbdistError):
        raise found
    if "same" in names:
        assert names["same"](found, expected), (found, expected)
        return
    assert repr(found) == repr(expected)
    assert type(found) is type(expected)
    if names.get("compare", True) and not isinstance(found, Exception):
        assert found == expected


@pytest.mark.parametrize("version", VERSIONS)
def test_this_version_takes_part(version: str) -> None:
    if version not in THERE:
        pytest.skip(missing(version))


@pytest.mark.parametrize("version", THERE)
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_it_does_there_what_it_does_here(
    row: Row, version: str, machines: dict[str, str], pool: nbdist.Pool, notebook: Notebook
) -> None:
    notebook.run("args = (3,)", row.text)
    names, needs = notebook.shell.user_ns, f"worker=py{version}"
    reason = lacking(machines[version], names.get("needs"))
    if reason:
        pytest.skip(reason)
    refused = names.get("refused") or (version != HERE and names.get("refused_elsewhere"))
    if refused:
        check_refusal(refused, pool, notebook, needs)
        return
    found = [mapped(pool, names, needs), distributed(notebook, needs)]
    expected = given(names)
    for each in found:
        check_same(each, expected, names)


def check_refusal(refused: str, pool: nbdist.Pool, notebook: Notebook, needs: str) -> None:
    """Before anything has run, in both spellings."""
    before = {row.id for row in pool.jobs}
    with pytest.raises((NbdistError, RuntimeWarning), match=rf"(?s){refused}"):  # the warning: the job waits for others
        raise mapped(pool, notebook.shell.user_ns, needs)
    if "refused" in notebook:
        with pytest.raises(NbdistError, match=rf"(?s){refused}"):
            raise distributed(notebook, needs)
    assert not [row for row in pool.jobs if row.id not in before and row.done]


def test_there_are_many_kinds() -> None:
    assert len(ROWS) >= 280
    assert len({row.name for row in ROWS}) == len(ROWS)
