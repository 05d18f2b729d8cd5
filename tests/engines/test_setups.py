"""Setups and environment variables, on every engine."""

from __future__ import annotations

import os
from types import FunctionType
from typing import Any

import pytest

import nbdist
from nbdist.errors import JobRefusedError
from nbdist.execution.setups import here
from nbdist.execution.task import Setup, Task

LIMIT_SECONDS = 60
SECRET = "sesame-7261"


def made(code: str) -> FunctionType:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(code, "<cell>", "exec"), namespace)
    function: FunctionType = namespace["f"]
    return function


def setup(code: str, *defines: str, session: str) -> Setup:
    body = "".join(f"    {line}\n" for line in code.splitlines())
    return Setup("model", made(f"def f():\n    global {', '.join(defines)}\n{body}"), defines, code, session)


@pytest.fixture
def session(request: pytest.FixtureRequest) -> str:
    """Each test is a session of its own."""
    return request.node.name


def run(pool: nbdist.Pool, function: Any, *setups: Setup, **options: Any) -> Any:
    options = {"ranges": [range(6)]} | options
    return pool.run_task(Task(function, setups=setups), **options).result(LIMIT_SECONDS)


COUNTED = "def f(x):\n    runs.append(x)\n    return model(x), len(runs)"


def test_items_see_what_setups_have_made_once(pool: nbdist.Pool, session: str) -> None:
    setups = [
        setup("runs = []", "runs", session=session),
        setup("def model(x):\n    return 10 * x + offset\noffset = 3", "model", "offset", session=session),
    ]
    values = run(pool, made(COUNTED), *setups)
    assert [value for value, _ in values] == [10 * n + 3 for n in range(6)]
    slots = len(run(pool, made("def f(): return runs"), *setups, ranges=(), each="slot"))
    assert sum(count == 1 for _, count in values) <= slots
    again = run(pool, made(COUNTED), *setups)
    assert [value for value, _ in again] == [value for value, _ in values]
    assert sum(count == 1 for _, count in again) <= slots - sum(count == 1 for _, count in values)


def test_a_changed_setup_is_another(pool: nbdist.Pool, session: str) -> None:
    function = made("def f(x): return state")
    for text in ("old", "new"):
        assert set(run(pool, function, setup(f"state = {text!r}", "state", session=session))) == {text}


def test_names_of_the_notebook_give_way_and_come_back(pool: nbdist.Pool, session: str) -> None:
    function = made("def f(x): return state, helper()\ndef helper(): return state\nstate = 'here'")
    values = run(pool, function, setup("state = 'there'", "state", session=session))
    assert set(values) == {("there", "there")}
    assert function.__globals__["state"] == "here"
    assert set(run(pool, function)) == {("here", "here")}


def test_classes_of_the_notebook_see_the_names_while_setups_run(pool: nbdist.Pool, session: str) -> None:
    function = made("class Loader:\n    def load(self): return path + '!'\ndef f(x): return loaded, Loader().load()")
    second = setup("loaded = Loader().load()", "loaded", session=session)
    second.function.__globals__["Loader"] = function.__globals__["Loader"]
    values = run(pool, function, setup("path = 'data'", "path", session=session), second)
    assert set(values) == {("data!", "data!")}
    assert "path" not in function.__globals__


def test_what_fails_everywhere_is_told_at_once(pool: nbdist.Pool, session: str) -> None:
    failing = setup("state = 1\nstate / 0", "state", session=session)
    with pytest.raises(JobRefusedError, match=r"setup 'model', line 4: ZeroDivisionError: division by zero"):
        run(pool, made("def f(x): return state"), failing)
    assert run(pool, made("def f(x): return x")) == list(range(6))


def test_what_it_writes_is_marked(parallel_pool: nbdist.Pool, session: str) -> None:
    talking = setup("print('loading', end='')\nstate = 1", "state", session=session)
    job = parallel_pool.run_task(Task(made("def f(x): return x"), setups=(talking,)), ranges=[range(1)])
    job.result(LIMIT_SECONDS)
    (text,) = job.output
    assert (text.setup, text.text, text.stream) == ("model", "loading", "stdout")
    assert text.machine in {worker.name for worker in parallel_pool.workers}


def test_modules_that_setups_import_are_required(pool: nbdist.Pool, session: str) -> None:
    needy = setup("import nowhere_to_be_found", "nowhere_to_be_found", session=session)
    job = pool.run_task(Task(made("def f(x): return x"), setups=(needy,)), ranges=[range(1)])
    try:
        if pool.address == "inline":
            with pytest.raises(JobRefusedError, match="nowhere_to_be_found"):
                job.result(LIMIT_SECONDS)
        else:
            assert "no module named 'nowhere_to_be_found'" in _refusals(job)
    finally:
        job.cancel()


def _refusals(job: nbdist.Job) -> str:
    for _ in range(LIMIT_SECONDS * 10):
        job.wait(0.1)
        told = [row.reason for row in job.progress.machines if row.state == "refused"]
        if told:
            return " ".join(told)
    return ""


TOKEN = made("def f(x):\n    import os\n    return os.environ.get('NBDIST_TOKEN')")


@pytest.mark.parametrize("names", ["NBDIST_TOKEN", ["NBDIST_TOKEN", "NBDIST_OTHER"]])
def test_environment_variables_go_along(pool: nbdist.Pool, monkeypatch: pytest.MonkeyPatch, names: Any) -> None:
    monkeypatch.setenv("NBDIST_TOKEN", SECRET)
    monkeypatch.setenv("NBDIST_OTHER", "x")
    job = pool.map(TOKEN, range(3), env=names)
    assert job.result(LIMIT_SECONDS) == [SECRET] * 3
    assert SECRET not in f"{pool.describe()} {job!r} {job.task!r} {pool.explain(job, 0)}"
    monkeypatch.delenv("NBDIST_TOKEN")
    assert pool.map(TOKEN, range(3)).result(LIMIT_SECONDS) == [None] * 3
    assert "NBDIST_TOKEN" not in os.environ


@pytest.mark.parametrize(("names", "error"), [("NBDIST_TOKEN", ValueError), ([7], TypeError)])
def test_what_is_not_set_is_told_before_the_run(pool: nbdist.Pool, names: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"NBDIST_TOKEN.*not set here|env is the name"):
        pool.map(TOKEN, range(3), env=names)


def test_in_this_process_setups_run_once_for_all_that_runs_here() -> None:
    one = setup("state = []", "state", session="shared")
    with nbdist.connect("inline") as pool:
        (first,) = run(pool, made("def f(x): return id(state)"), one, ranges=[range(1)])
    assert not here.lacks([one])
    with nbdist.connect("inline") as pool:
        assert run(pool, made("def f(x): return id(state)"), one, ranges=[range(1)]) == [first]


def test_an_interrupt_of_a_setup_leaves_the_process_as_it_was() -> None:
    stopped = setup("raise KeyboardInterrupt", "state", session="stopped")
    with nbdist.connect("inline") as pool:
        job = pool.run_task(Task(made("def f(x): return x"), setups=(stopped,)), ranges=[range(3)])
        with pytest.raises(KeyboardInterrupt):
            job.result()
        assert job.outcome == "cancelled"
        assert run(pool, made("def f(x): return x")) == list(range(6))
