"""What a function takes along."""

from __future__ import annotations

import functools
import json
import linecache
import types
from typing import Any

import numpy as np
import pytest

from nbdist.client.analysis.modules import required
from nbdist.client.analysis.names import captured, functions_in
from nbdist.client.analysis.sources import sources_of


def defined(source: str, **names: Any) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "__main__", **names}
    exec(compile(source, "<cell 3>", "exec"), namespace)
    return namespace


def test_captured_names() -> None:
    outer = 5
    f = defined("def f(x):\n    return [y + a for y in g(x)]", a=1, g=len, b=2)["f"]
    assert captured(f) == {"a": 1, "g": len}
    assert captured(lambda: outer) == {"outer": 5}  # type: ignore[arg-type]


def test_modules_that_are_captured_or_imported() -> None:
    f = defined("def f(x):\n    import pandas.core as p\n    return np.sum(x), js.dumps(x)", np=np, js=json)["f"]
    assert required(f) == ("numpy", "pandas")


def test_modules_of_functions_that_others_call() -> None:
    namespace = defined(
        "def g(x):\n    from scipy import stats\n    return stats\n"
        "def f(x):\n    return g(x)\n"
        "class C:\n    def m(self):\n        import rich"
    )
    assert required(namespace["f"]) == ("scipy",)
    assert required(functools.partial(namespace["f"], 1)) == ("scipy",)
    assert required(namespace["C"]().m) == ("rich",)
    assert required(namespace["C"]) == ("rich",)


def test_modules_of_what_is_pickled_by_reference() -> None:
    assert required(np.linalg.norm) == ("numpy",)
    assert required(np.sin) == ("numpy",)
    assert required(len, json.dumps, None) == ()
    assert required(defined("def f(x):\n    return table[x]", table=np.arange(3))["f"]) == ("numpy",)


def imports_inside(x: int) -> Any:
    import scipy

    return scipy, x


def calls(x: int) -> Any:
    return imports_inside(x)


def test_modules_that_a_function_of_a_local_module_imports_if_it_is_the_jobs_own() -> None:
    assert "scipy" in required(imports_inside)
    assert "scipy" not in required(calls)  # who knows whether that runs


@pytest.mark.parametrize("table", [{"a": np.arange(3)}, [1, np.arange(3)], (np.float64(1),), {np.int64}])
def test_modules_of_what_is_in_captured_containers(table: Any) -> None:
    assert required(defined("def f(x):\n    return table", table=table)["f"]) == ("numpy",)


def test_functions_are_given_once() -> None:
    namespace = defined("def f(x):\n    return g(x)\ndef g(x):\n    return f(x)")
    assert {f.__name__ for f in functions_in(namespace["f"])} == {"f", "g"}
    assert len(list(functions_in(namespace["f"], namespace["g"]))) == 2


def test_sources_of_cells_travel() -> None:
    source = "def f(x):\n    return x\n"
    linecache.cache["<cell 3>"] = (len(source), None, source.splitlines(keepends=True), "<cell 3>")
    f = defined(source)["f"]
    assert sources_of(f, None) == {"<cell 3>": source}
    assert sources_of(json.dumps) == {}
    assert isinstance(f, types.FunctionType)


def test_what_travels_by_value_needs_no_module() -> None:
    class Local:
        pass

    value = Local()

    def helper(x: int) -> object:
        return value, Local, x

    assert required(lambda x: helper(x)) == ()


def test_attributes_that_an_object_makes_up_are_not_followed() -> None:
    made: list[Any] = []

    class Endless:
        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            assert len(made) < 100
            made.append(Endless())
            return made[-1]

        def __call__(self) -> None: ...

    f = defined("def f(x):\n    return m(x)", m=Endless())["f"]
    assert list(functions_in(f)) == [f]
    assert not made
    g = defined("def g(x):\n    return p(x)", p=functools.partial(f))["g"]
    assert list(functions_in(g)) == [g, f]
