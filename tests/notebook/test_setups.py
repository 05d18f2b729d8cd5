"""`%%distribute --setup` in a notebook: registered, replaced, forgotten, and used by later cells."""

from __future__ import annotations

import os
from typing import Any

import pytest

import nbdist
from nbdist.errors import CellError, JobRefusedError, PackingError

COUNTER = "import builtins\nruns = builtins.__dict__.setdefault('nbdist_test_runs', [])\n"
"""In this process a list can tell what has run; slots have processes of their own."""


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What setups have noted, in order."""
    import builtins

    noted: list[str] = []
    monkeypatch.setattr(builtins, "nbdist_test_runs", noted, raising=False)
    return noted


def noting(word: str, more: str = "") -> str:
    return f"{COUNTER}runs.append({word!r})\n{more}"


def test_the_cell_itself_runs_nothing_and_says_what_it_is(notebook: Any, runs: list[str]) -> None:
    notebook.run("%%distribute --setup --name model\n" + noting("model", "model = 3\nconnection = 4"))
    assert notebook.printed == (
        "setup 'model' (1 of 1): runs once in each slot before its next items; "
        "defines builtins, connection, model, runs\n"
    )
    notebook.run("%%distribute --setup\n1 + 1")
    assert notebook.printed.startswith("setup 'cell 2' (2 of 2): ")
    assert notebook.printed.endswith("defines no names\n")
    assert not runs
    assert "model" not in notebook


def test_later_cells_use_its_names_and_it_runs_once(notebook: Any, runs: list[str]) -> None:
    notebook.run("k = 10\ndef helper(n): return model(n)")
    notebook.run("%%distribute --setup\n" + noting("model", "def model(n): return n * k"))
    assert notebook.run("%%distribute n in range(3)\nmodel(n) + helper(n)") == [0, 20, 40]
    assert notebook.run("%%distribute n in range(3) if model(n) --reduce sum\nn") == 3
    assert notebook.run("xs = %distribute [model(n) for n in range(2)]", "xs") == [0, 10]
    assert notebook.run("%%distribute\nmodel(1)") == 10
    assert notebook.run("%%distribute --each machine\nmodel(1)") == {"inline": 10}
    assert runs == ["model"]
    assert "model" not in notebook


def test_what_it_captures_is_what_the_notebook_had_then(notebook: Any) -> None:
    notebook.run("xs = [1]\nk = 2\ndef f(): return k, len(xs)")
    notebook.run("%%distribute --setup\nresult = f()")
    notebook.run("k = 3", "xs.append(2)")
    assert notebook.run("%%distribute\nresult") == (2, 1)


def test_what_the_notebook_has_under_the_same_name_stays_there(notebook: Any) -> None:
    notebook.run("import threading\nconnection = threading.Lock()\ndef helper(): return connection")
    notebook.run("%%distribute --setup\nconnection = 'opened there'")
    assert notebook.run("%%distribute n in range(2)\nconnection, helper()") == [("opened there",) * 2] * 2
    assert notebook.run("connection.locked()") is False


@pytest.mark.real
def test_what_it_has_made_need_not_travel_from_here_either(notebook: Any) -> None:
    notebook.run("xs = []\ndef note(): xs.append(1)\nimport nbdist")
    notebook.run("%%distribute --setup\nimport threading\nnote()\nlock = threading.Lock()\ncount = len(xs)")
    for _ in range(2):
        assert notebook.run("%%distribute\nlock.locked(), count") == (False, 1)
    with nbdist.connect(workers=1):
        assert notebook.run("%%distribute\nlock.locked(), count") == (False, 1)
    assert notebook["xs"] == []


def test_names_of_setups_are_no_containers_of_the_notebook(notebook: Any) -> None:
    notebook.run("cache = {}", "%%distribute --setup\ncache = {}")
    notebook.run("%%distribute n in range(2)\ncache[n] = n\nlen(cache)")
    assert "Warning" not in notebook.printed


def test_a_name_replaces_in_its_place(notebook: Any, runs: list[str]) -> None:
    notebook.run("%%distribute --setup --name a\n" + noting("a1", "a = 1"))
    notebook.run("%%distribute --setup --name b\n" + noting("b", "b = a + 1"))
    assert notebook.run("%%distribute\na, b") == (1, 2)
    notebook.run("%%distribute --setup --name a\n" + noting("a2", "a = 10"))
    assert notebook.printed.startswith("setup 'a' (1 of 2): runs once")
    assert notebook.run("%%distribute\na, b") == (10, 11)
    assert runs == ["a1", "b", "a2", "b"]


def test_the_same_cell_again_changes_nothing(notebook: Any, runs: list[str]) -> None:
    cell = "%%distribute --setup\n" + noting("a", "a = len(xs)")
    notebook.run("xs = [1]", cell, "%%distribute\na", cell)
    assert notebook.printed == (
        "setup 'cell 4' (1 of 1) is as it was: where it has run, it does not run again; defines a, builtins, runs\n"
    )
    notebook.run("%%distribute\na")
    assert runs == ["a"]
    notebook.run("xs.append(2)", cell)
    assert notebook.run("%%distribute\na") == 2
    assert runs == ["a", "a"]


def test_another_cell_is_another_setup_in_order(notebook: Any, runs: list[str]) -> None:
    for word in ("a", "b", "c"):
        notebook.run("%%distribute --setup\n" + noting(word))
    notebook.run("%%distribute\n1")
    assert runs == ["a", "b", "c"]


def test_an_edited_cell_replaces_itself_where_the_front_end_tells_which_it_is(notebook: Any) -> None:
    notebook.shell.parent_header = {"metadata": {"cellId": "one"}}
    notebook.run("%%distribute --setup\na = 1")
    notebook.shell.parent_header = {"metadata": {"cellId": "two"}}
    notebook.run("%%distribute --setup\nb = 2")
    notebook.shell.parent_header = {"metadata": {"cellId": "one"}}
    notebook.run("%%distribute --setup --name first\na = 10")
    assert notebook.printed.startswith("setup 'first' (1 of 2)")
    assert notebook.run("%%distribute\na, b") == (10, 2)
    del notebook.shell.parent_header


def test_the_command_shows_and_forgets(notebook: Any, runs: list[str]) -> None:
    assert "No setups" in repr(notebook.run("%distribute setup"))
    notebook.run("%%distribute --setup --name a\n" + noting("a", "a = 1"), "%%distribute --setup --name b\nb = a")
    assert repr(notebook.run("%distribute setup")).splitlines()[1:] == [
        "name  defines            code",
        "a     a, builtins, runs  import builtins",
        "b     b                  b = a",
    ]
    notebook.run("%%distribute\na", "%distribute setup --clear b")
    assert notebook.printed == "Forgotten: b.\n"
    assert "'c'; there are: 'a'" in str(notebook.fail("%distribute setup --clear c"))
    notebook.run("%distribute setup --clear", "%distribute setup --clear")
    assert notebook.printed == "There were no setups.\n"
    assert "`a` is not defined" in str(notebook.fail("%%distribute\na"))
    notebook.run("%%distribute --setup --name a\n" + noting("a", "a = 1"), "%%distribute\na")
    assert runs == ["a", "a"]


def test_what_cannot_travel_is_named_at_once(notebook: Any) -> None:
    notebook.run("import threading\nlock = threading.Lock()")
    error = notebook.fail("%%distribute --setup --name model\nwith lock: pass")
    assert isinstance(error, PackingError)
    assert "the captured name 'lock' of setup 'model' cannot be packed" in str(error)
    assert "No setups" in repr(notebook.run("%distribute setup"))


def test_a_failure_shows_the_setups_own_line(notebook: Any) -> None:
    notebook.run("%%distribute --setup --name model\na = 1\n\nopen('/nowhere/at all')")
    error = notebook.fail("%%distribute n in range(3)\na")
    assert isinstance(error, JobRefusedError)
    shown = "\n".join(error._render_traceback_())  # type: ignore[attr-defined]
    assert "setup 'model', line 4: FileNotFoundError" in shown
    assert "Cell In[1], line 4" in shown
    assert "open('/nowhere/at all')" in shown


def test_the_head_is_read_in_the_notebook(notebook: Any) -> None:
    notebook.run("%%distribute --setup\ndata = [1, 2]")
    error = notebook.fail("%%distribute x in data\nx")
    assert isinstance(error, CellError)
    assert "'data' is not defined: the setup" in str(error)
    assert isinstance(notebook.fail("%%distribute x in nothing\nx"), NameError)


def test_output_is_marked_line_by_line(notebook: Any) -> None:
    notebook.run("%%distribute --setup --name model\nimport sys\nprint('one\\ntwo')\nprint('three', end='')")
    notebook.run("%%distribute n in range(1)\nprint('item')")
    mark = "[setup 'model' on inline] "
    assert notebook.printed.startswith(f"{mark}one\n{mark}two\n{mark}three\nitem\n")


def test_an_expression_is_no_setup(notebook: Any) -> None:
    assert "--setup stands on a cell" in str(notebook.fail("%distribute [n for n in range(3)] --setup"))


def test_the_debugger_has_the_names(notebook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook.run("%%distribute --setup\nmodel = [7]", "%%distribute n in range(3)\nmodel[0] + n")

    class Debugger:
        def runcall(self, function: Any, *arguments: Any) -> Any:
            return function(*arguments)

    monkeypatch.setattr(type(notebook.shell), "debugger_cls", Debugger)
    assert notebook.run("%distribute debug 2") == 9
    assert "model" not in notebook


def test_environment_variables_go_along(notebook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBDIST_A", "1")
    monkeypatch.setenv("NBDIST_B", "2")
    cell = "%%distribute n in range(1) --env {}\nimport os\nos.environ['NBDIST_A'], os.environ['NBDIST_B']"
    for names in ("NBDIST_A,NBDIST_B", "'NBDIST_A, NBDIST_B'"):
        assert notebook.run(cell.format(names)) == [("1", "2")]
    error = notebook.fail(cell.format("NBDIST_A,NBDIST_C"))
    assert isinstance(error, CellError)
    assert "--env: the environment variable 'NBDIST_C' is not set here" in str(error)
    assert os.environ["NBDIST_A"] == "1"
