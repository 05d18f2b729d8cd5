"""Real slots that run setups before items: once, outside of their time, and so that they can be stopped."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import FunctionType
from typing import Any

import pytest

from nbdist.execution.task import Setup
from nbdist.packing import unpack_part
from nbdist.wire import messages as m
from nbdist.worker.orders import SlotDied

pytestmark = pytest.mark.real

Pack = Callable[..., bytes]
OnSlot = Callable[[Any], None]


def made(code: str, filename: str = "<setup>") -> FunctionType:
    """A function of some notebook, with globals of its own."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(code, filename, "exec"), namespace)
    function: FunctionType = namespace["f"]
    return function


def setup(code: str, *defines: str, name: str = "model") -> Setup:
    """A setup that binds these names."""
    body = "".join(f"    {line}\n" for line in code.splitlines())
    declared = f"    global {', '.join(defines)}\n" if defines else "    pass\n"
    return Setup(name, made(f"def f():\n{declared}{body}"), defines, code, "session")


def message_kinds(bench: Any) -> list[str]:
    kinds = (m.SetupBegun, m.SliceBegun, m.Part, m.SliceEnded, m.TaskRefused)
    return [type(message).__name__ for message, _ in bench.passed if isinstance(message, kinds)]


COUNT = setup("import os\ncounts = [os.getpid()]\nprint('made')", "counts", "os")


def test_it_runs_once_before_the_first_items_of_any_job(slot: OnSlot, packed: Pack) -> None:
    async def test(bench: Any) -> None:
        task = packed(made("def f(x):\n    counts.append(x)\n    return len(counts)"), setups=(COUNT,))
        bench.run(task, 0, 2)
        assert await bench.to_end() == [2, 3]
        assert message_kinds(bench) == ["SetupBegun", "SliceBegun", "Part"]
        bench.passed.clear()
        bench.run(task, 2, 4, attempt=(1, 2))  # another job, as it is loaded anew
        assert await bench.to_end() == [4, 5]
        assert message_kinds(bench) == ["Part"]
        assert not bench.text("stdout")

    slot(test)


def test_output_is_marked_with_the_setup_and_that_of_items_is_not(slot: OnSlot, packed: Pack) -> None:
    loud = setup("import sys, os\nprint('out')\nprint('err', file=sys.stderr)\nos.system('echo program')", "sys", "os")

    async def test(bench: Any) -> None:
        bench.run(packed(made("def f(x):\n    print('item')"), setups=(COUNT, loud)), 0, 1)
        await bench.to_end()
        outputs = [(message, data) for message, data in bench.passed if isinstance(message, m.Output)]
        marked = {message.stream: b"" for message, _ in outputs}
        for message, data in outputs:
            if message.setup:
                assert message.setup == "model"
                marked[message.stream] += data
        assert marked == {"stdout": b"made\nout\nprogram\n", "stderr": b"err\n"}
        assert [data for message, data in outputs if not message.setup] == [b"item\n"]

    slot(test)


def test_its_time_is_no_items_time(slot: OnSlot, packed: Pack) -> None:
    slow = setup("import time\ntime.sleep(1.5)", "time")

    async def test(bench: Any) -> None:
        bench.run(packed(made("def f(x):\n    return x"), setups=(slow,)), 0, 3, time_limit=1.0)
        assert await bench.to_end() == [0, 1, 2]
        (seconds,) = (message.seconds for message, _ in bench.passed if isinstance(message, m.Part))
        assert seconds < 1.0

    slot(test)


def test_one_that_raises_says_where_and_is_tried_again_by_the_next_job(slot: OnSlot, packed: Pack) -> None:
    code = "def f():\n    global a\n    a = 1\n    open('/nowhere/at all')\n"
    failing = Setup("data", made(code), ("a",), "key", "session")

    async def test(bench: Any) -> None:
        task = packed(made("def f(x):\n    return x"), setups=(failing,))
        for number in (1, 2):
            bench.run(task, 0, 3, attempt=(1, number))
            refused = await bench.until(m.TaskRefused)
            assert refused.setup
            assert refused.reason.startswith("setup 'data', line 4: FileNotFoundError: [Errno 2]")
        assert message_kinds(bench) == ["SetupBegun", "TaskRefused"] * 2
        bench.run(packed(made("def f(x):\n    return x")), 0, 3, attempt=(1, 3))
        assert await bench.to_end() == [0, 1, 2]

    slot(test)


@pytest.mark.parametrize("code", ["raise SystemExit('done')", "def g(): return g()\ng()", "raise BaseException"])
def test_whatever_is_raised_is_no_end_of_the_process(slot: OnSlot, packed: Pack, code: str) -> None:
    async def test(bench: Any) -> None:
        bench.run(packed(made("def f(x):\n    return x"), setups=(setup(code, "g"),)), 0, 3)
        assert "setup 'model', line" in (await bench.until(m.TaskRefused, SlotDied)).reason

    slot(test)


def test_an_interrupt_stops_it_and_it_runs_again_from_its_beginning(slot: OnSlot, packed: Pack) -> None:
    endless = setup("import time\nprint('begun', flush=True)\nwhile wait: time.sleep(0.01)", "time")
    endless.function.__globals__["wait"] = True
    brief = setup("b = 1", "b", name="brief")

    async def test(bench: Any) -> None:
        bench.run(packed(made("def f(x):\n    return x"), setups=(brief, endless)), 0, 3)
        while (await bench.until(m.Output)).setup != "model":
            pass
        bench.host.interrupt((1, 1))
        assert (await bench.until(m.SliceEnded)).reason == "cancelled"
        assert not [message for message, _ in bench.passed if isinstance(message, m.SliceBegun)]
        bench.passed.clear()
        endless.function.__globals__["wait"] = False
        bench.run(packed(made("def f(x):\n    return x"), setups=(brief, endless)), 0, 3, attempt=(1, 2))
        assert await bench.to_end() == [0, 1, 2]
        assert [message.name for message, _ in bench.passed if isinstance(message, m.SetupBegun)] == ["model"]

    slot(test)


def test_one_that_keeps_the_interrupt_to_itself_has_not_run(slot: OnSlot, packed: Pack) -> None:
    code = "import time\nprint('begun')\ntry:\n    time.sleep(wait)\nexcept KeyboardInterrupt:\n    pass"
    stubborn = setup(code, "time")
    stubborn.function.__globals__["wait"] = 60

    async def test(bench: Any) -> None:
        bench.run(packed(made("def f(x):\n    return x"), setups=(stubborn,)), 0, 3)
        await bench.until(m.Output)
        bench.host.interrupt((1, 1))
        assert (await bench.until(m.SliceEnded)).reason == "cancelled"
        stubborn.function.__globals__["wait"] = 0
        bench.passed.clear()
        bench.run(packed(made("def f(x):\n    return x"), setups=(stubborn,)), 0, 3, attempt=(1, 2))
        assert await bench.to_end() == [0, 1, 2]
        assert message_kinds(bench)[0] == "SetupBegun"

    slot(test)


def test_an_environment_variable_is_there_for_the_job_and_its_setups_alone(slot: OnSlot, packed: Pack) -> None:
    function = made("def f(x):\n    import os\n    return os.environ.get('NBDIST_TOKEN'), seen")
    seen = setup("import os\nseen = os.environ.get('NBDIST_TOKEN')", "os", "seen")

    async def test(bench: Any) -> None:
        bench.run(packed(function, setups=(seen,), env={"NBDIST_TOKEN": "sesame"}), 0, 1)
        assert await bench.to_end() == [("sesame", "sesame")]
        bench.passed.clear()
        bench.run(packed(function, setups=(seen,)), 0, 1, attempt=(1, 2))
        assert await bench.to_end() == [(None, "sesame")]

    assert "NBDIST_TOKEN" not in os.environ
    slot(test)


def test_jobs_for_each_slot_see_the_names_too(slot: OnSlot, packed: Pack) -> None:
    async def test(bench: Any) -> None:
        task = packed(made("def f():\n    return counts"), setups=(COUNT,))
        bench.host.send(m.LoadTask("j", m.JobOptions(), each=True), task)
        bench.again(0, 1, (1, 1))
        await bench.until(m.Part)
        (values,) = (unpack_part(data)[0].values for message, data in bench.passed if isinstance(message, m.Part))
        assert values == [[bench.host.pid]]

    slot(test)
