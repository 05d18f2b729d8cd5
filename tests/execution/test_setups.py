"""What runs when: each setup once, in order, again only if it or one before it has changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nbdist.execution.setups import MAX_SESSIONS, Made, give
from nbdist.execution.task import Setup


def setup(name: str, code: str, *defines: str, session: str = "s") -> Setup:
    """A setup as it is after loading: a function with globals of its own, whose key is its code."""
    namespace: dict[str, Any] = {}
    declared = f"    global {', '.join(defines)}\n" if defines else ""
    exec(f"def run():\n{declared}    {code}", namespace)
    return Setup(name, namespace["run"], defines, code, session)


class Log:
    """Calls setups, and remembers which."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def __call__(self, one: Setup, names: object) -> None:
        self.ran.append(one.name)
        one.function()

    def take(self) -> list[str]:
        ran, self.ran = self.ran, []
        return ran


def first() -> Setup:
    return setup("first", "a = [1]", "a")


def second(code: str = "b = a + [2]") -> Setup:
    return setup("second", code, "b")


@pytest.fixture
def log() -> Log:
    return Log()


def test_setups_run_in_order_and_see_the_names_before_them(log: Log) -> None:
    assert Made().run([first(), second()], log) == {"a": [1], "b": [1, 2]}
    assert log.take() == ["first", "second"]


def test_what_has_run_does_not_run_again(log: Log) -> None:
    made = Made()
    before = made.run([first(), second()], log)
    assert made.lacks([first(), second()]) is False
    after = made.run([first(), second()], log)
    assert log.take() == ["first", "second"]
    assert after["a"] is before["a"]


def test_one_more_setup_runs_on_what_is_there(log: Log) -> None:
    made = Made()
    before = made.run([first()], log)
    assert made.lacks([first(), second()])
    assert made.run([first(), second()], log)["a"] is before["a"]
    assert log.take() == ["first", "second"]


def test_a_changed_setup_runs_again_and_those_behind_it(log: Log) -> None:
    made = Made()
    made.run([first(), second()], log)
    log.take()
    assert made.run([first(), second("b = 7")], log) == {"a": [1], "b": 7}
    assert log.take() == ["second"]
    assert made.run([setup("first", "a = [5]", "a"), second()], log) == {"a": [5], "b": [5, 2]}
    assert log.take() == ["first", "second"]


def test_what_a_setup_no_longer_defines_is_gone(log: Log) -> None:
    made = Made()
    made.run([setup("one", "a = b = 1", "a", "b")], log)
    assert made.run([setup("one", "b = 2", "b")], log) == {"b": 2}
    assert made.run([setup("one", "b = 2", "b"), setup("two", "del b", "b")], log) == {}


def test_an_earlier_job_that_needs_fewer_leaves_the_others(log: Log) -> None:
    made = Made()
    made.run([first(), second()], log)
    assert made.run([first()], log) == {"a": [1]}
    assert made.run([first(), second()], log) == {"a": [1], "b": [1, 2]}
    assert log.take() == ["first", "second"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_one_that_fails_has_not_run_and_those_before_it_have(log: Log, error: type[BaseException]) -> None:
    made = Made()
    failing = setup("second", f"raise {error.__name__}")
    for _ in range(2):
        with pytest.raises(error):
            made.run([first(), failing], log)
    assert log.take() == ["first", "second", "second"]


def test_what_is_replaced_goes_before_the_new_one_runs(log: Log) -> None:
    import gc
    import weakref

    class Model:
        pass

    made = Made()
    old = Model()
    gone = weakref.ref(old)
    one = setup("one", "m = old", "m")
    one.function.__globals__["old"] = old
    made.run([one], log)
    del one, old
    gc.collect()
    assert gone() is not None
    alive: list[Any] = []
    new = setup("one", "look()", "m")
    new.function.__globals__["look"] = lambda: (gc.collect(), alive.append(gone()))
    made.run([new], log)
    assert alive == [None]


def test_sessions_share_nothing_and_few_are_kept(log: Log) -> None:
    made = Made()
    chains: list[list[Setup]] = [[setup("one", "a = []", "a", session=str(n))] for n in range(MAX_SESSIONS + 1)]
    lists = [made.run(chain, log)["a"] for chain in chains]
    assert len({id(each) for each in lists}) == len(lists)
    assert [made.lacks(chain) for chain in chains] == [True] + [False] * MAX_SESSIONS


def test_functions_are_given_the_names() -> None:
    names: dict[str, Any] = {}
    exec("def f(): return a + g()\ndef g(): return a", names)
    function: Callable[[], int] = names["f"]
    give(function, {"a": 2})
    assert function() == 4


def test_who_calls_a_setup_hears_of_the_names_before_it() -> None:
    heard: list[Any] = []
    Made().run([first(), second()], lambda one, names: (heard.append(dict(names)), one.function()))
    assert heard == [{}, {"a": [1]}]


def test_nothing_is_given_to_what_has_no_globals_of_its_own() -> None:
    give(len, {"a": 2})
    assert Made().run([], Log()) == {}
    assert Made().lacks([]) is False
