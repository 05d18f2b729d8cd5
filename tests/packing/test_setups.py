"""What goes along with functions that find names where they run, and copies of functions as they are now."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import cloudpickle
import pytest

from nbdist.errors import PackingError
from nbdist.execution.setups import give
from nbdist.execution.task import Setup, Task
from nbdist.packing import load_task, pack_task, setup_reason, snapshot, without_names

CELL = """
def helper(x):
    return x + model["bias"]
class Wrapper:
    def __call__(self, x):
        return helper(x)
wrapper = Wrapper()
def cell(x):
    return helper(x), wrapper(x), model["bias"], other
def setup():
    global model, count
    count = count + 1
    model = {"bias": helper, "other": other}
"""


def notebook(**more: Any) -> dict[str, Any]:
    """The names of a notebook whose `model` cannot travel."""
    names: dict[str, Any] = {"__name__": "__main__", "model": threading.Lock(), "other": [1], "count": 1, **more}
    exec(compile(CELL, "<cell 3>", "exec"), names)
    return names


def load(task: Task) -> Task:
    """The task in another process, which knows none of its classes."""
    pieces, blobs = pack_task(task, lambda view: "")
    assert not blobs
    cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.clear()
    cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS.clear()
    loaded: Task = load_task(b"".join(pieces), {})
    return loaded


def set_up(function: Callable[[], Any] = print) -> tuple[Setup, ...]:
    return (Setup("one", function, ("model",), "key", "session"),)


def test_names_that_setups_define_stay_here_also_those_of_helpers() -> None:
    task = load(Task(notebook()["cell"], setups=set_up()))
    assert "model" not in task.function.__globals__
    give(task.function, {"model": {"bias": 10}})
    assert task.function(1) == (11, 11, 10, [1])


def test_without_setups_they_go_along_as_ever() -> None:
    with pytest.raises(PackingError, match="captured name 'model'"):
        load(Task(notebook()["cell"]))


def test_what_cannot_travel_is_named_and_not_what_stays_here() -> None:
    with pytest.raises(PackingError, match="captured name 'other'"):
        load(Task(notebook(other=threading.Lock())["cell"], setups=set_up()))


def test_a_snapshot_is_what_a_function_has_now() -> None:
    names = notebook()
    function, values = snapshot(names["setup"], {"model"}, "the setup")
    again = snapshot(names["setup"], {"model"}, "the setup")[1]
    names["other"].append(2)
    names["count"] = 100
    function()
    assert function.__globals__["model"]["other"] == [1]
    assert function.__globals__["count"] == 2
    assert "model" in names["helper"].__globals__
    assert again == values
    assert snapshot(names["setup"], {"model"}, "the setup")[1] != values


def test_a_snapshot_leaves_the_notebooks_classes_alone() -> None:
    names = notebook()
    exec("def setup():\n    return wrapper, helper", names)
    function, _ = snapshot(names["setup"], {"model"}, "the setup")
    names["model"] = {"bias": 5}
    assert names["wrapper"](1) == 6
    wrapper, helper = function()
    assert type(wrapper) is names["Wrapper"]
    assert wrapper is not names["wrapper"]
    assert helper.__globals__ is function.__globals__


def test_a_snapshot_of_what_cannot_travel_names_it() -> None:
    names = notebook(other=threading.Lock())
    with pytest.raises(PackingError, match="the captured name 'other' of setup 'one' cannot be packed"):
        snapshot(names["setup"], {"model"}, "setup 'one'")


def test_a_function_over_fewer_names() -> None:
    names = notebook()
    cell = without_names(names["cell"], {"model"})
    assert cell.__globals__.keys() == names.keys() - {"model"}
    assert without_names(names["cell"], ()) is names["cell"]
    assert without_names(len, {"model"}) is len


def test_the_reason_has_the_setups_own_line_and_the_last_lines() -> None:
    names: dict[str, Any] = {}
    exec(compile("def load():\n    raise OSError('no\\nfile')\ndef setup():\n    1\n    load()", "<s>", "exec"), names)
    with pytest.raises(OSError, match="no") as caught:
        names["setup"]()
    reason = setup_reason("model", "<s>", caught.value).splitlines()
    assert reason[0] == "setup 'model', line 2: OSError: no"
    assert reason[-2:] == ["OSError: no", "file"]
    assert len(reason) <= 9
    assert setup_reason("model", "<other>", ValueError()).splitlines()[0] == "setup 'model': ValueError"
    assert len(setup_reason("model", "<other>", ValueError("x" * 10_000))) < 2_200
