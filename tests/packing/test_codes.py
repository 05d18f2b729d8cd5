"""Recipes of code: found in text, compiled again, and what no recipe is made of."""

from __future__ import annotations

import ast
import gc
import linecache
from collections.abc import Iterator
from typing import Any

import pytest
from pythons import HERE, Pythons, find, others

from nbdist.errors import PackingError
from nbdist.packing import codes, trees
from nbdist.packing.codes import Recipe, build_code, recipe_of

FILE = "<cell codes>"
MODULES = ("argparse", "asyncio.tasks", "collections", "contextlib", "dataclasses", "enum", "functools")


@pytest.fixture(scope="module")
def pythons() -> Iterator[Pythons]:
    found = Pythons()
    yield found
    found.close()


def define(text: str, sources: bool = True) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "__main__"}
    linecache.cache.pop(FILE, None)
    if sources:
        linecache.cache[FILE] = (len(text), None, text.splitlines(keepends=True), FILE)
    exec(compile(text, FILE, "exec", dont_inherit=True), names)
    return names


@pytest.mark.parametrize("version", [HERE, *(version for version in others() if find(version))])
def test_every_function_of_large_modules_can_go(version: str, pythons: Pythons) -> None:
    for module in MODULES:
        failed, count = pythons[version].without_recipe(module)
        assert not failed
        assert count > 20


def test_a_tree_comes_back_as_it_was() -> None:
    text = "def f(a, *b: int, c=1, **d) -> None:\n    x = None, True, ..., 'ä', 1e400, [*b], {**d, 1: None}\n"
    tree = ast.parse(text)
    again = trees.unflatten(trees.flatten(tree), "it")
    assert ast.dump(tree, include_attributes=True) == ast.dump(again, include_attributes=True)


def test_a_deep_tree_needs_no_recursion() -> None:
    tree: ast.expr = ast.Name("x", ast.Load())
    for _ in range(20_000):
        tree = ast.UnaryOp(ast.Not(), tree)
    flat = trees.flatten(tree)
    again: Any = trees.unflatten(flat, "it")
    assert trees.flatten(again) == flat
    while isinstance(again, ast.UnaryOp):  # Python takes deep trees apart by recursion
        again = again.operand
    while isinstance(tree, ast.UnaryOp):
        tree = tree.operand


def test_syntax_that_this_python_does_not_have_is_named() -> None:
    for flat in ([(("Unheard", ()), 1, 0, 1, 1)], [(("Return", ("unheard",)), 1, 0, 1, 1), (1,)]):
        with pytest.raises(PackingError, match=r"'f' of a cell needs a later version of Python: .*[uU]nheard"):
            trees.unflatten(flat, "'f' of a cell")
    with pytest.raises(PackingError, match=r"'f' of a cell needs Python 3\.14 or later: this machine has Python 3\."):
        trees.unflatten([("TemplateStr", ())], "'f' of a cell")


def test_what_this_python_cannot_compile_is_named() -> None:
    recipe = recipe_of(define("def f(x):\n    return x + 1\n")["f"].__code__, {})
    with pytest.raises(PackingError, match=r"'f' of <cell codes> needs a later version of Python: .*import unheard"):
        build_code(*recipe._replace(futures=("unheard",)))
    tree = trees.unflatten(recipe.tree, "it")
    assert isinstance(tree, ast.FunctionDef)
    tree.body[0].lineno = 9
    with pytest.raises(PackingError, match="'f' of <cell codes> cannot be compiled by this version of Python"):
        build_code(*recipe._replace(tree=trees.flatten(tree)))


def test_a_recipe_gives_the_same_code() -> None:
    text = (
        "def make(a):\n    def f(x, *, k=1):\n        return [lambda: (a, i) for i in x]\n    return f\nf = make(1)\n"
    )
    code = define(text)["f"].__code__
    recipe = recipe_of(code, {})
    again = build_code(*recipe)
    assert again == code
    assert again.co_qualname == code.co_qualname == "make.<locals>.f"
    assert [each.co_qualname for each in codes._inner(again)] == [each.co_qualname for each in codes._inner(code)]
    assert recipe_of(again, {}) == recipe


def test_what_was_made_of_a_recipe_can_go_on_without_text() -> None:
    text = "def f(x):\n    def g(y):\n        return x + y\n    return g\n"
    recipe = recipe_of(define(text)["f"].__code__, {})._replace(lines="", filename="<elsewhere>")
    (inner,) = codes._inner(build_code(*recipe))  # the function around it is gone
    gc.collect()
    assert recipe_of(inner, {}).qualname == "f.<locals>.g"


def test_nothing_is_remembered_of_code_that_is_gone() -> None:
    recipe = recipe_of(define("def f(x):\n    return lambda: x\n")["f"].__code__, {})
    gc.collect()
    before = len(codes._recipes._held), len(codes._origins._held)
    for _ in range(10):
        build_code(*recipe)
    gc.collect()
    assert (len(codes._recipes._held), len(codes._origins._held)) == before


@pytest.mark.parametrize(
    ("edited", "is_refused"),
    [
        ("def f(x):\n    return x + 1\n", False),
        ("def f(x):\n    return x + 1  # a comment\n\nmore = 1\n", False),
        ("def f(x):\n    return x + 2\n", True),
        ("def f(x):\n    return x - 1\n", True),
        ("def f(x):\n    return x +  1\n", True),
        ("def f(y):\n    return y + 1\n", True),
        ("\ndef f(x):\n    return x + 1\n", True),
        ("def g(x):\n    return x + 1\n", True),
        ("async def f(x):\n    return x + 1\n", True),
        ("def f(x): return x + 1\n", True),
        ("def f(x):\n    return x + 1.0\n", True),
        ("this does not parse", True),
        ("", True),
    ],
)
def test_only_the_text_that_made_it_is_taken(edited: str, is_refused: bool) -> None:
    code = define("def f(x):\n    return x + 1\n")["f"].__code__
    linecache.cache[FILE] = (len(edited), None, edited.splitlines(keepends=True), FILE)
    if is_refused:
        with pytest.raises(PackingError, match="the function 'f' in line 1 of <cell codes> cannot go as source"):
            recipe_of(code, {})
    else:
        assert isinstance(recipe_of(code, {}), Recipe)


def test_sources_of_the_task_come_first() -> None:
    text = "def f(x):\n    return x + 1\n"
    code = define(text, sources=False)["f"].__code__
    with pytest.raises(PackingError, match="its text is not known"):
        recipe_of(code, {})
    assert recipe_of(code, {FILE: text}).lines == text.rstrip("\n")


def test_lines_are_shown_beside_those_that_are_known() -> None:
    text = "def f():\n    return 1\n\n\ndef g():\n    return 2\n"
    names = define(text)
    recipes = [recipe_of(names[name].__code__, {}) for name in "gf"]
    linecache.cache.pop(FILE)
    for recipe in recipes:
        build_code(*recipe)
    assert "".join(linecache.getlines(FILE)) == text
    linecache.cache.pop(FILE)
