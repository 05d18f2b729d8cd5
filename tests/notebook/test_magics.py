"""Cells in a real IPython shell, on the inline pool."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import nbdist
from nbdist.errors import CellError, NbdistError


def test_a_cell_binds_its_values(notebook: Any) -> None:
    result = notebook.run("k = 10", "%%distribute n in range(5) if n % 2 -> odd\nm = n * k\nm + 1")
    assert result is None
    assert notebook["odd"] == [11, 31]
    assert "m" not in notebook
    assert "n" not in notebook
    assert "odd: 5 items" in notebook.printed


def test_without_a_target_the_values_are_displayed(notebook: Any) -> None:
    assert notebook.run("%%distribute n in range(3)\nn * n") == [0, 1, 4]
    assert notebook.run("%%distribute n in range(3)\nn * n;") is None
    assert notebook.run("%%distribute n in range(3)\nm = n") is None
    assert notebook.run("%%distribute n in range(3)\nprint(n)") is None


def test_the_last_job_is_kept(notebook: Any) -> None:
    notebook.run("%%distribute n in range(3) --name squares --seed 7\nn * n")
    assert nbdist.last_job.values == [0, 1, 4]
    assert nbdist.last_job.seed == 7


@pytest.mark.parametrize(
    ("line", "result"),
    [
        ("n in range(10) --reduce sum", 45),
        ("n in range(10) --reduce max", 9),
        ("n in range(1, 5) --reduce lambda a, b: a * b", 24),
        ("n in range(10) --keep-if _ > 7", [8, 9]),
        ("n in range(10) --stop-when _ == 4", [4]),
        ("n in range(10) --stop-when _ == 40", []),
        ("x in range(2) for n in range(2)", [0, 1, 0, 1]),
        ("n in 'abc' --task-size 1", ["a", "b", "c"]),
        ("n in (c for c in 'abc')", ["a", "b", "c"]),
        ("n in []", []),
    ],
)
def test_options_of_a_job(notebook: Any, line: str, result: Any) -> None:
    assert notebook.run(f"%%distribute {line}\nn") == result


def test_a_cell_without_a_head_runs_once(notebook: Any) -> None:
    assert notebook.run("k = 4", "%%distribute -> once\nk + 1") is None
    assert notebook["once"] == 5


def test_each_machine_gives_its_value_by_name(notebook: Any) -> None:
    assert notebook.run("%%distribute --each machine\n6 * 7") == {"inline": 42}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[n * n for n in range(4) if n]", [1, 4, 9]),
        ("{n % 2 for n in range(4)}", {0, 1}),
        ("{n: n * n for n in range(3)}", {0: 0, 1: 1, 2: 4}),
        ("[n for n in range(4)] --reduce sum", 6),
    ],
)
def test_the_expression_form(notebook: Any, text: str, value: Any) -> None:
    notebook.run(f"xs = %distribute {text}")
    assert notebook["xs"] == value
    assert notebook.run(f"%distribute {text}") == value


def test_a_generator_expression_streams(notebook: Any) -> None:
    notebook.run("xs = %distribute (n * n for n in range(4))")
    assert next(notebook["xs"]) == 0
    assert list(notebook["xs"]) == [1, 4, 9]


def test_an_items_exception_ends_the_cell_as_itself(notebook: Any) -> None:
    error = notebook.fail("%%distribute n in range(4) -> xs\nm = 3 - n\n1 / m")
    assert isinstance(error, ZeroDivisionError)
    assert "xs" not in notebook
    assert nbdist.last_job.values[:3] == [1 / 3, 1 / 2, 1]
    assert "1 / m" in notebook.printed
    assert "line 3" in notebook.printed
    assert "item 3" in notebook.printed
    assert "inline" in notebook.printed
    assert "nbdist/" not in notebook.printed
    assert "run_cell_magic" not in notebook.printed


def test_the_traceback_names_the_cell_by_its_number(notebook: Any) -> None:
    notebook.run("def f(n):\n    return 1 / n")
    notebook.fail("%%distribute n in range(1)\nf(n)")
    assert "In[2], line 2" in notebook.printed
    assert "In[1], line 2, in f" in notebook.printed


def test_failures_are_kept_on_request(notebook: Any) -> None:
    values = notebook.run("%%distribute n in range(3) --on-error keep\n1 // n")
    assert values[1:] == [1, 0]
    assert isinstance(values[0].error, ZeroDivisionError)


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("%%distribute n in range(3)\nbreak", "--stop-when"),
        ("%%distribute n in range(3) --kepe-if n\nn", "--keep-if"),
        ("%%distribute n in range(3)\n!ls", "subprocess.run"),
        ("%%distribute n in 3\nn", "range(3)"),
        ("%distribute frobnicate", "it takes connect, invite"),
        ("%distribute wait soon", "invalid int value"),
        ("%distribute invite --for ever", "24h"),
        ("%distribute stop", "--all"),
        ("%distribute stop nobody", "no machine is called nobody"),
        ("%distribute cancel zzz", "no job has"),
        ("%distribute connect --as lab", "ADDRESS"),
        ("%distribute debug 3 4", "unrecognized"),
        ("%distribute cancel 'x", "closing quotation"),
    ],
)
def test_a_mistake_is_one_message_without_a_traceback(notebook: Any, cell: str, said: str) -> None:
    error = notebook.fail(cell)
    assert isinstance(error, NbdistError)
    assert said in notebook.printed
    assert "Traceback" not in notebook.printed
    assert len(notebook.printed.splitlines()) < 10


def test_the_heads_own_exception_is_the_users(notebook: Any) -> None:
    assert isinstance(notebook.fail("%%distribute n in missing\nn"), NameError)


def test_a_warning_for_a_captured_list(notebook: Any) -> None:
    notebook.run("found = []", "%%distribute n in range(2)\nfound.append(n)")
    assert "Warning: line 2" in notebook.printed


def test_names_with_braces_and_dollars_reach_the_cell_as_they_are(notebook: Any) -> None:
    notebook.run("n = 'expanded'", "%%distribute s in ['{n}', '$n']\ns + '{n}'")
    assert nbdist.last_job.values == ["{n}{n}", "$n{n}"]


def test_background_binds_the_job_at_once(notebook: Any) -> None:
    assert notebook.run("%%distribute n in range(3) -> job --background\nn + 1") is None
    assert notebook["job"].outcome is None
    assert notebook["job"].result() == [1, 2, 3]


def test_a_rehearsal_runs_a_few_items_and_estimates_all(notebook: Any) -> None:
    notebook.run("%%distribute n in range(1000) --try 2 -> xs\nn * 10")
    assert "xs" not in notebook
    assert nbdist.last_job.values == [0, 10]
    assert "1,000 items like these" in notebook.printed


def test_the_output_of_items_is_shown(notebook: Any) -> None:
    notebook.run("%%distribute n in range(2)\nprint('item', n)")
    assert "item 0\nitem 1" in notebook.printed


def test_an_interrupt_stops_the_job_and_ends_the_cell(notebook: Any) -> None:
    notebook.shell.user_ns["reached"] = threading.Event()
    cell = "%%distribute n in range(100) -> xs\nimport _thread\nif n == 5: _thread.interrupt_main()\nn"
    error = notebook.fail(cell)
    assert isinstance(error, KeyboardInterrupt)
    assert "xs" not in notebook
    assert nbdist.last_job.outcome == "cancelled"
    assert notebook.run("1 + 1") == 2


def test_the_pools_tables(notebook: Any) -> None:
    assert "inline" in repr(notebook.run("%distribute"))
    assert "inline" in repr(notebook.run("%distribute workers"))
    notebook.run("%%distribute n in range(3) --name counted\nn")
    assert "counted" in repr(notebook.run("%distribute jobs"))


def test_connect(notebook: Any) -> None:
    assert "inline: 1 machine" in repr(notebook.run("%distribute connect inline"))
    assert "CellError" not in notebook.printed


def test_the_inline_pool_has_no_invites(notebook: Any) -> None:
    assert isinstance(notebook.fail("%distribute invite"), NbdistError)
    assert not isinstance(notebook.fail("%distribute invite"), CellError)


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("%distribute --help", "--keep-if EXPR"),
        ("%%distribute n in range(3) --help\nn", "--keep-if EXPR"),
        ("%distribute invite --help", "--uses N"),
    ],
)
def test_help(notebook: Any, cell: str, said: str) -> None:
    assert notebook.run(cell) is None
    assert said in notebook.printed


@pytest.mark.parametrize(
    ("line", "offered", "not_offered"),
    [
        ("%distribute ", "invite", ""),
        ("%distribute in", "invite", "wait"),
        ("%distribute invite --", "--uses", "--keep-if"),
        ("%%distribute n in x --", "--keep-if", "invite"),
        ("%%distribute n in x --plot h", "hist", "line"),
        ("%%distribute n in x --plot --", "--seed", "--plot"),
    ],
)
def test_completion(notebook: Any, line: str, offered: str, not_offered: str) -> None:
    found = notebook.shell.complete(None, line, len(line))[1]
    assert offered in found
    assert not_offered not in found


def test_debug_runs_an_item_again_with_its_random_numbers(notebook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[Any] = []

    class Debugger:
        def runcall(self, function: Any, *arguments: Any) -> Any:
            stopped.append(arguments)
            return function(*arguments)

        def reset(self) -> None: ...

        def interaction(self, frame: Any, traceback: Any) -> None:
            while traceback.tb_next is not None:
                traceback = traceback.tb_next
            stopped.append(traceback.tb_frame.f_code.co_name)

    monkeypatch.setattr(type(notebook.shell), "debugger_cls", Debugger)
    notebook.run(
        "from nbdist.execution.random import rng", "%%distribute n in range(5, 9) -> xs\nfloat(rng().random())"
    )
    assert notebook.run("%distribute debug 2") == notebook["xs"][2]
    assert stopped == [(7,)]
    notebook.fail("%%distribute n in range(4)\n1 / (2 - n)")
    assert notebook.run("%distribute debug") is None
    assert stopped[1:] == [(2,), "cell"]
    assert isinstance(notebook.fail("%distribute debug 99"), NbdistError)
