"""Keys of jobs: the same for what does the same, another one for every change that may change a value."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import functools
import importlib
import itertools
import json
import math
import operator
import os
import random
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nbdist.client.analysis import canonical
from nbdist.client.analysis.canonical import Form, NoFormError
from nbdist.client.analysis.identity import Made, items_key, job_key
from nbdist.execution.task import SKIP, Setup, StopHere, Task


def notebook(source: str, **names: Any) -> dict[str, Any]:
    """The names of a notebook after a cell."""
    namespace: dict[str, Any] = {"__name__": "__main__", **names}
    exec(compile(source, "<cell>", "exec"), namespace)
    return namespace


def key_of(source: str, name: str = "f", **names: Any) -> str | None:
    """The key of a job of a function that a cell defines."""
    return job_key(Task(notebook(source, **names)[name]), (range(3),))


def key_with(value: Any) -> str | None:
    """The key of a job whose function captures a value."""
    return key_of("def f(x): return value", value=value)


# --- values -----------------------------------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclasses.dataclass
class Point:
    x: int
    y: Any = dataclasses.field(default_factory=list)


Pair = collections.namedtuple("Pair", "a b")


class Slotted:
    __slots__ = ("a",)

    def __init__(self, a: int) -> None:
        self.a = a


class Numbers(list):  # type: ignore[type-arg]
    pass


def structured(kind: str) -> Any:
    return np.zeros(3, dtype=[("a", kind), ("b", "U3")])


def one_list_twice() -> Any:
    one = [1]
    return [one, one]


VALUES: list[Callable[[], Any]] = [
    lambda: None, lambda: True, lambda: 1, lambda: 1.0, lambda: 1 + 0j, lambda: "1", lambda: b"1", lambda: 2**70,
    lambda: 0.0, lambda: -0.0, lambda: math.nan, lambda: bytearray(b"1"), lambda: ..., lambda: NotImplemented,
    lambda: "\ud800", list, lambda: (), dict, lambda: set(), lambda: frozenset(), lambda: [1, 2],
    lambda: (1, 2), lambda: [2, 1], lambda: [1, [2]], lambda: [[1], 2], lambda: [(1, 2)], lambda: [(1,), (2,)],
    lambda: [1, 2.0], lambda: [True, 2], lambda: ["a", None], lambda: ["ab"], lambda: ["a", "b"], lambda: {1, 2},
    lambda: frozenset({1, 2}), lambda: {"a", "b", (1, 2)}, lambda: {(1, 2), (3,)}, lambda: {1: 2, 3: 4},
    lambda: {3: 4, 1: 2}, lambda: {1: [2]}, lambda: {(1, 2): 3}, lambda: range(3), lambda: range(0, 3, 2),
    lambda: slice(1, 2), lambda: slice(2), lambda: Colour.RED, lambda: Colour.BLUE, lambda: Point(1), lambda: Point(2),
    lambda: Point(1, [0]), lambda: Pair(1, 2), lambda: Pair(2, 1), lambda: Slotted(1), lambda: Slotted(2),
    lambda: Numbers([1, 2]), lambda: datetime.date(2024, 1, 1), lambda: datetime.datetime(2024, 1, 1),
    lambda: datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC), lambda: datetime.timedelta(1),
    lambda: decimal.Decimal("1.0"), lambda: decimal.Decimal("1.00"), lambda: Path("/a"), lambda: re.compile("a"),
    lambda: re.compile("a", re.IGNORECASE), lambda: functools.partial(pow, 2), lambda: functools.partial(pow, 3),
    lambda: functools.partial(pow, mod=2), lambda: len, lambda: max, lambda: math.sqrt, lambda: operator.itemgetter(1),
    lambda: operator.itemgetter(2), lambda: str.upper, lambda: "a".join, lambda: "b".join, lambda: np.add,
    lambda: np.dot, lambda: np, lambda: json, lambda: json.dumps, lambda: int, lambda: type(None), lambda: Point,
    lambda: np.float64(1), lambda: np.float32(1), lambda: np.int64(1), lambda: np.arange(4), lambda: np.arange(4.0),
    lambda: np.arange(4).reshape(2, 2), lambda: np.asfortranarray(np.arange(4).reshape(2, 2)), lambda: np.zeros((0, 2)),
    lambda: np.zeros((2, 0)), lambda: np.ones((2, 2)),
    lambda: np.asfortranarray(np.ones((2, 2))), lambda: np.ones((2, 2), order="F")[:1],
    lambda: np.zeros(3), lambda: np.zeros(3, dtype=int),
    lambda: np.array(4), lambda: np.arange(8)[::2], lambda: structured("i4"),
    lambda: structured("i2"), lambda: np.array(["a", "bc"]), lambda: np.array(["2024-01-01"], dtype="M8[D]"),
    lambda: np.array(["a", None], dtype=object), lambda: np.array([["a"], [None]], dtype=object),
    lambda: np.ma.array([1, 2], mask=[0, 1]), lambda: np.ones(100_000), lambda: np.ones(100_000, dtype=">f8"),
    lambda: b"1" * canonical.FAST_BYTES, lambda: b"1" * canonical.FAST_BYTES + b"2", lambda: pd.Series([1, 2]),
    lambda: pd.DataFrame({"a": [1, 2], "b": ["x", None]}), lambda: pd.DataFrame({"a": [1, 3], "b": ["x", None]}),
    lambda: pd.Timestamp("2024-01-01"), lambda: collections.deque([1]), lambda: collections.Counter("aab"),
    lambda: collections.OrderedDict(a=1), lambda: collections.defaultdict(list, {1: [2]}), one_list_twice,
    lambda: [[1], [1]], lambda: StopHere, lambda: SKIP, lambda: int | None, lambda: list[int],
]  # fmt: skip


def test_equal_values_have_one_key_and_all_others_another() -> None:
    keys = [key_with(make()) for make in VALUES]
    assert [place for place, key in enumerate(keys) if key is None] == []
    assert [key_with(make()) for make in VALUES] == keys
    alike = [places for key in set(keys) if len(places := [at for at, one in enumerate(keys) if one == key]) > 1]
    assert alike == []


def holding_itself() -> Any:
    values: list[Any] = []
    values.append((values,))
    return values


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


class StoredElsewhere:
    __module__ = "zarr.core"


class Unwilling:
    def __reduce_ex__(self, protocol: Any) -> Any:
        raise RuntimeError("no")


class Local(threading.Thread):
    pass


@pytest.mark.parametrize(
    "make",
    [
        holding_itself, lambda: nested(10_000), lambda: (n for n in range(3)), lambda: iter([1]), lambda: zip([1]),
        lambda: itertools.count(), lambda: open(__file__),  # noqa: SIM115
        threading.Lock, Local, Unwilling, random.Random,
        lambda: random.random, lambda: np.random.default_rng(1), lambda: np.random.RandomState(1),
        lambda: np.random.default_rng(1).bit_generator, lambda: sys.modules["__main__"],
        lambda: [object() for _ in range(canonical.MAX_PARTS)], lambda: range(canonical.MAX_FLAT + 1),
        lambda: {threading.current_thread()}, lambda: [np.random.default_rng(1)], lambda: {"a": iter(())},
        lambda: {Slotted(1)}, StoredElsewhere,
    ],
)  # fmt: skip
def test_what_has_no_canonical_form_has_no_key(make: Callable[[], Any]) -> None:
    value = make()
    value = list(value) if isinstance(value, range) else value
    assert key_with(value) is None
    getattr(value, "close", lambda: None)()


def test_a_form_does_not_mix_up_where_values_begin_and_end() -> None:
    def form_of(*values: Any) -> str:
        form = Form()
        for value in values:
            form.add(value)
        return form.hexdigest()

    parts = [(1,), (1, 2), ([1], 2), ([1, 2],), (["1"], "2"), ("12",), ("1", "2"), (b"1", b"2"), (b"12",), ({1: 2},)]
    assert len({form_of(*values) for values in parts}) == len(parts)
    with pytest.raises(NoFormError):
        form_of(iter(()))


# --- functions --------------------------------------------------------------------------------------------------------

CELL = """
import math, json
LIMIT = 10
TABLE = [1.0, 2.0]
LINKS = {}
class Base:
    step = 1
    def move(self, x): return x + self.step
class Walker(Base):
    names = ("a", "b")
    @property
    def size(self): return inner(1)
    @staticmethod
    def twice(x): return 2 * x
def inner(x, by=1):
    return x + by
def outer(x):
    return inner(x) + LIMIT
def maker(k):
    def made(x):
        return x * k
    return made
def even(n): return True if n == 0 else odd(n - 1)
def odd(n): return False if n == 0 else even(n - 1)
scale = maker(3)
pair = (lambda x: x + 1), (lambda x: x + 2)
def f(x):
    "What it does."
    total = outer(x) + math.sqrt(x) + sum(TABLE) + scale(x)
    if even(x):
        total += Walker().move(x) + pair[0](x)
    elif x in {"a", "b", "c"}:
        return [LIMIT for y in range(x) if y]
    with open(x) as file:
        try:
            return lambda z: z + total
        except ValueError as error:
            return json.dumps(error)
"""

CHANGES = [
    ("LIMIT = 10", "LIMIT = 11"),
    ("LIMIT = 10", "LIMIT = 10.0"),
    ("TABLE = [1.0, 2.0]", "TABLE = [1.0, 3.0]"),
    ("by=1", "by=2"),
    ("return x + by", "return x - by"),
    ("return x + by", "return x + by + 0"),
    ("return 2 * x", "return 3 * x"),
    ("    step = 1", "    step = 2"),
    ("Walker(Base)", "Walker"),
    ('names = ("a", "b")', 'names = ("a", "c")'),
    ("@property", "@classmethod"),
    ("maker(3)", "maker(4)"),
    ("return x * k", "return x * k * 1"),
    ("lambda x: x + 1", "lambda x: x + 3"),
    ("pair[0]", "pair[1]"),
    ("return False if", "return None if"),
    ("math.sqrt", "math.cbrt"),
    ("import math, json", "import cmath as math, json"),
    ("json.dumps", "repr"),
    ("except ValueError", "except TypeError"),
    ('"b", "c"}', '"b", "d"}'),
    ("if y]", "if not y]"),
    ("range(x)", "range(x, 5)"),
    ("lambda z: z + total", "lambda z: z - total"),
    ("sum(TABLE)", "min(TABLE)"),
    ("LINKS = {}", "sum = max"),
]


@pytest.mark.parametrize(("before", "after"), CHANGES)
def test_another_key_when_anything_changes_that_the_function_uses(before: str, after: str) -> None:
    assert CELL.count(before) == 1
    changed = key_of(CELL.replace(before, after))
    assert changed is not None
    assert changed != key_of(CELL)


LAYOUTS = [
    ("\n", "\n\n"),
    ("def f(x):\n", "# a comment\n\ndef f(x):  # another\n    # and one more\n"),
    ("return x + by", "return (x +\n        by)  # by how much"),
    ("if even(x):", "if (\n        even(\n            x,\n        )\n    ):"),
    ("total = outer(x) + math.sqrt(x) + sum(TABLE) + scale(x)",
     "total = (\n        outer(x)\n        + math.sqrt(x)\n        + sum(TABLE) + scale(x)\n    )"),
    ("[LIMIT for y in range(x) if y]", "[\n          LIMIT\n          for y in range(x)\n          if y\n        ]"),
    ("lambda z: z + total", "(lambda z:\n                z + total)"),
    ("    return made", "    return (\n        made\n    )"),
    ("x in {\"a\", \"b\", \"c\"}", "x in {'c', 'b', 'a'}"),
    ("LINKS = {}", "LINKS = {1: 2}"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after"), LAYOUTS)
def test_the_same_key_whatever_the_layout_and_whatever_it_does_not_use(before: str, after: str) -> None:
    assert key_of(CELL) is not None
    assert key_of(CELL.replace(before, after)) == key_of(CELL)


def test_a_loop_that_does_nothing_has_one_key_in_one_line_and_in_two() -> None:
    assert key_of("def f(x):\n    while x: pass") == key_of("def f(x):\n    while x:\n        pass")
    assert key_of("def f(x):\n    while x: pass") != key_of("def f(x):\n    while not x: pass")


def test_a_function_that_has_run_often_has_the_same_key() -> None:
    source = "def f(x): return [y * 2 + len(str(y)) for y in range(x)]"
    names = notebook(source)
    before = job_key(Task(names["f"]), (range(3),))
    for _ in range(1000):
        names["f"](20)
    assert before == job_key(Task(names["f"]), (range(3),)) == key_of(source)


def test_an_attribute_with_the_name_of_a_global_is_not_that_global() -> None:
    assert key_of("def f(x): return x.data", data=1) == key_of("def f(x): return x.data", data=iter(()))


def test_a_name_in_text_that_is_run_counts_with_its_value() -> None:
    source = "def f(x): return eval('x + LIMIT')"
    assert key_of(source, LIMIT=1) == key_of(source, LIMIT=1) != key_of(source, LIMIT=2)


def test_what_is_not_defined_yet_counts_once_it_is() -> None:
    assert key_of("def f(x): return later(x)") != key_of("def f(x): return later(x)", later=abs)


def test_long_chains_of_functions_have_a_key() -> None:
    chain = "\n".join(f"def f{n}(x): return f{n + 1}(x)" for n in range(2000)) + "\ndef f2000(x): return x"
    assert key_of(chain, "f0") not in (None, key_of(chain + " + 1", "f0"))


def test_a_class_of_the_notebook_counts_with_its_methods() -> None:
    cell = (
        "import enum, dataclasses\nclass Kind(enum.Enum):\n    A = 1\n"
        "    def go(self): return 1\n    def __str__(self): return 'a'\n"
        "@dataclasses.dataclass\nclass Box:\n    kind: Kind\n    n: int = 3\n"
        "box = Box(Kind.A)\ndef f(x): return str(box.kind), box.n"
    )
    changes = [
        ("A = 1", "A = 2"),
        ("return 1", "return 2"),
        ("'a'", "'b'"),
        ("n: int = 3", "n: int = 4"),
        ("n: ", "m: "),
    ]
    keys = {key_of(cell), *(key_of(cell.replace(*change)) for change in changes)}
    assert None not in keys
    assert len(keys) == len(changes) + 1


def test_each_of_two_functions_in_one_line_is_told_apart() -> None:
    names = notebook("a, b = (lambda x: x + 1), (lambda x: x + 2)")
    assert job_key(Task(names["a"]), (range(3),)) != job_key(Task(names["b"]), (range(3),))


# --- jobs -------------------------------------------------------------------------------------------------------------

F = notebook("def f(x): return x")["f"]
OPTIONS: list[dict[str, Any]] = [
    {}, {"filters": True}, {"stop_when": True}, {"on_error": "keep"}, {"seed": 0}, {"seed": 1},
]  # fmt: skip


def test_a_mapped_file_counts_with_what_is_in_it(tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "data", dtype=np.uint8, mode="w+", shape=(3,))
    before = key_with(mapped)
    mapped[1] = 5
    assert None not in (before, key_with(mapped))
    assert before != key_with(mapped)


def test_options_that_change_values_change_the_key() -> None:
    keys = {job_key(Task(F), (range(3),), **options) for options in OPTIONS}
    keys |= {job_key(Task(F, **{name: len}), (range(3),)) for name in ("keep_if", "stop_when", "reduce")}
    keys.add(job_key(Task(F, star=True), (range(3),)))
    keys |= {job_key(Task(F, reduce=len), (range(3),), task_size=size) for size in (1, 2)}
    assert len(keys) == len(OPTIONS) + 6
    assert None not in keys
    assert job_key(Task(F), (range(3),), task_size=1) == job_key(Task(F), (range(3),))


def pairs(source: str, **names: Any) -> Any:
    return notebook(f"make = lambda first: ((a, b) for a in first for b in {source})", **names)["make"]


def test_items_have_keys() -> None:
    items = [
        (range(3),), (range(3), range(3)), (range(3, 0, -1),), [0, 1, 2], [0.0, 1, 2], [2, 1, 0], "abc", ["a", "b"],
        np.arange(3), np.arange(3.0), pd.Series([1, 2]), range(2**70), [[1], [2]], [Point(1)], [],
        Made(pairs("[1, 2]"), [1]), Made(pairs("[1, 3]"), [1]), Made(pairs("[1, 2]"), [2]),
        Made(pairs("n", n=[1, 2]), [1]),        Made(pairs("range(a)"), range(3)),
    ]  # fmt: skip
    keys = [items_key(each) for each in items]
    assert None not in keys
    assert len(set(keys)) == len(keys)
    assert [items_key(each) for each in items] == keys
    assert items_key({"a": 1, "b": 2}) == items_key({"a": 3, "b": 4}) == items_key(["a", "b"])
    assert items_key({"a": 1}.items()) == items_key([("a", 1)])
    assert {job_key(Task(F), each) for each in items}.isdisjoint({None})


def test_items_count_in_the_order_in_which_they_come() -> None:
    assert items_key({"a": 1, "b": 2}) != items_key({"b": 2, "a": 1})
    words = {"one", "two", "three", "four"}
    assert items_key(words) == items_key(list(words))


def never(values: Any) -> Iterator[int]:
    pytest.fail("an item was taken")
    yield from values


def test_nothing_is_taken_from_an_iterator() -> None:
    one_shot = iter([1, 2, 3])
    for items in (never([1]), one_shot, map(never, [1]), Made(pairs("n", n=never([1])), [1]), Made(never, iter([1]))):
        assert items_key(items) is None
        assert job_key(Task(F), items) is None
    assert list(one_shot) == [1, 2, 3]
    with open(__file__) as file:
        assert items_key(file) is None


def test_arrays_that_are_too_large_have_no_key_as_items() -> None:
    large = np.broadcast_to(np.int8(0), 300 * 1024 * 1024)
    assert items_key(large) is None


# --- modules ----------------------------------------------------------------------------------------------------------

FILES = {
    "house_of_keys/__init__.py": "from . import floors\nX = 1\n",
    "house_of_keys/floors.py": "import keys_cellar\n\ndef climb(x):\n    return x + keys_cellar.DEPTH\n",
    "house_of_keys/attic.py": "DUST = 1\n",
    "keys_cellar.py": "import json\ntry:\n    import keys_missing\nexcept ImportError:\n    pass\nDEPTH = 3\n",
    "keys_garden.py": "FLOWERS = 1\n",
}


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Local modules that import each other."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith(("house_of_keys", "keys_"))]:
        del sys.modules[name]


USES = [
    "from house_of_keys.floors import climb\ndef f(x): return climb(x)",
    "import house_of_keys\ndef f(x): return house_of_keys.floors.climb(x)",
    "def f(x):\n    from house_of_keys.floors import climb\n    return climb(x)",
    "def f(x):\n    from house_of_keys import floors\n    return floors.climb(x)",
    "def f(x):\n    import house_of_keys.floors as floors\n    return floors.climb(x)",
    "from house_of_keys.floors import climb as f",
]


@pytest.mark.parametrize("use", USES)
def test_an_edited_local_module_changes_the_key_of_what_uses_it(house: Path, use: str) -> None:
    keys = [key_of(use), key_of(use)]
    for name in ("house_of_keys/floors.py", "keys_cellar.py", "house_of_keys/__init__.py"):
        (house / name).write_text(FILES[name] + "# edited\n")
        keys.append(key_of(use))
    (house / "keys_missing.py").write_text("")
    keys.append(key_of(use))
    (house / "keys_garden.py").write_text("FLOWERS = 2\n")
    assert key_of(use) == keys[-1]
    assert None not in keys
    assert keys[0] == keys[1]
    assert len(set(keys)) == 5


def test_a_module_that_is_loaded_or_imported_by_name_counts(house: Path) -> None:
    use = "import house_of_keys\ndef f(x): return house_of_keys.attic.DUST"
    before = key_of(use)
    unused = "import house_of_keys\ndef f(x): return house_of_keys.X"
    keys = [key_of(unused)]
    importlib.import_module("house_of_keys.attic")
    loaded = key_of(use)
    keys.append(key_of(unused))
    (house / "house_of_keys/attic.py").write_text("DUST = 2\n")
    assert None not in (before, loaded, *keys)
    assert len({before, loaded, key_of(use)}) == 3
    assert {key_of(unused)} == set(keys)


def test_a_loaded_module_that_a_local_module_means_counts(house: Path) -> None:
    (house / "keys_user.py").write_text("import house_of_keys\ndef dust(): return house_of_keys.attic.DUST\n")
    importlib.import_module("house_of_keys.attic")
    use = "import keys_user\ndef f(x): return keys_user.dust()"
    before = key_of(use)
    (house / "house_of_keys/attic.py").write_text("DUST = 2\n")
    assert before != key_of(use)


def test_nothing_is_imported_to_find_a_key(house: Path) -> None:
    assert key_of("def f(x):\n    import keys_garden, house_of_keys.attic\n    return x") is not None
    assert not {"keys_garden", "house_of_keys"} & set(sys.modules)


def test_an_unknown_module_has_no_key() -> None:
    assert key_of("def f(x):\n    import keys_nowhere") is None
    assert key_of("def f(x):\n    import json, os.path") is not None


def test_an_installed_module_counts_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    from nbdist.client.analysis import origins

    found = dict(origins.describe(["numpy.linalg", "pandas", "json", "nbdist.wire", "cloudpickle"]))
    assert set(found) == {"numpy", "pandas", "cloudpickle"}
    assert found["numpy"] == f"numpy {np.__version__}"
    before = key_with(np.add)
    monkeypatch.setitem(origins._versions, "numpy", "numpy 0.0")
    assert key_with(np.add) != before


# --- processes --------------------------------------------------------------------------------------------------------

PROGRAM = """
import sys
sys.path.insert(0, {here!r})
import test_identity as t
print([t.key_with(make()) for make in t.VALUES], t.key_of(t.CELL), t.items_key([1, "a"]))
"""


@pytest.mark.real
def test_keys_are_the_same_in_every_process() -> None:
    program = PROGRAM.format(here=str(Path(__file__).parent))
    printed = set()
    for seed in ("0", "1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        printed.add(done.stdout)
    assert len(printed) == 1
    assert "None" not in printed.pop()


# --- setups and environment variables ---------------------------------------------------------------------------------


def key_around(setups: tuple[str, ...] = (), env: dict[str, str] | None = None, **names: Any) -> str | None:
    """The key of a job that uses what setups define."""
    made = tuple(
        Setup(f"cell {number}", notebook(f"def f():\n    global model\n    {code}")["f"], ("model",), "", str(number))
        for number, code in enumerate(setups)
    )
    function = notebook("def f(x): return model(x)", **names)["f"]
    return job_key(Task(function, setups=made, env=env or {}), range(3))


def test_setups_and_variables_are_part_of_a_key() -> None:
    keys = [
        key_around(),
        key_around(("model = 1",)),
        key_around(("model = 2",)),
        key_around(("model = 1", "model = 2")),
        key_around(("model = 2", "model = 1")),
        key_around(env={"A": "1"}),
        key_around(env={"A": "2"}),
        key_around(("model = 1",), env={"A": "1"}),
    ]
    assert None not in keys
    assert len(set(keys)) == len(keys)
    assert key_around(("model = 1",), {"A": "1"}) == keys[-1]


def test_what_the_notebook_has_under_the_names_of_setups_is_not() -> None:
    key = key_around(("model = 1",))
    assert key_around(("model = 1",), model=threading.Lock()) == key_around(("model = 1",), model=7) == key is not None
