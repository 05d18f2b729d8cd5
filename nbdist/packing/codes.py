"""Code objects as source: a recipe of plain data, from which every version of Python compiles its own bytecode.

A recipe holds the syntax tree of one function, without decorators, defaults and annotations: what came of these are
values. It is compiled inside a function whose parameters are the names that it takes from around it, so that each name
means what it meant: `def maker(FREE, NAMES): class CLASS: def function(…): …`. Nothing of this runs; the code is taken.
Before a recipe is used it is compiled here and compared with the code that it stands for: text that was changed since,
or rewritten on its way to the compiler, is never sent.
"""

from __future__ import annotations
import __future__

import ast
import contextlib
import linecache
import threading
import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from types import CodeType
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from nbdist.errors import PackingError
from nbdist.packing import trees
from nbdist.packing.trees import Flat

MAX_TEXTS = 32
"""The trees of so many cells and files are kept."""

_MAKER = "__nbdist_maker__"
_NESTED = 0x10
"""The flag of code inside other functions; it has no effect."""
_IN_CLASS = 0x8000000
"""The flag of functions in classes, from Python 3.14 on; it has no effect either."""
_OPTIMIZED = 0x1
"""The flag of functions: classes do not have it."""
_V = TypeVar("_V")
Scope: TypeAlias = tuple[ast.AST, str | None]
"""A function or lambda, and the class in whose body it stands."""


class Recipe(NamedTuple):
    """What a code object is compiled from."""

    tree: Flat
    class_name: str | None
    free: tuple[str, ...]
    qualname: str
    filename: str
    futures: tuple[str, ...]
    """The `__future__` features that it was compiled with."""
    is_nested: bool
    lines: str
    """Its lines, if they are to be shown in tracebacks: empty if others bring them."""


class _Memory(Generic[_V]):
    """Values by code object, for as long as it lives. Equal code may have other lines and files: identity counts."""

    def __init__(self) -> None:
        self._held: dict[int, tuple[weakref.ref[CodeType], _V]] = {}

    def __setitem__(self, code: CodeType, value: _V) -> None:
        key = id(code)
        self._held[key] = weakref.ref(code, lambda _: self._held.pop(key, None)), value

    def get(self, code: CodeType) -> _V | None:
        found = self._held.get(id(code))
        return found[1] if found is not None and found[0]() is code else None


_one_at_a_time = threading.RLock()
_recipes: _Memory[Recipe] = _Memory()
_origins: _Memory[Scope] = _Memory()
_newest: weakref.WeakValueDictionary[tuple[str, int, str], CodeType] = weakref.WeakValueDictionary()
"""The newest code that was remembered of a file, line and name: copies of it come from there too."""


def remember_tree(code: CodeType, tree: ast.AST, class_name: str | None = None) -> None:
    """Notes the tree that code was compiled from, for code whose file does not have it as text."""
    _origins[code] = tree, class_name
    _newest[_place(code)] = code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            remember_tree(inner, tree, class_name)


def _place(code: CodeType) -> tuple[str, int, str]:
    return code.co_filename, code.co_firstlineno, code.co_name


def _origin_of(code: CodeType) -> Scope | None:
    """What was remembered of a code, or of one that it may be a copy of."""
    found = _origins.get(code)
    newest = None if found is not None else _newest.get(_place(code))
    return found if newest is None else _origins.get(newest)


# --- code to recipe ---------------------------------------------------------------------------------------------------


def recipe_of(code: CodeType, sources: Mapping[str, str]) -> Recipe:
    """The recipe of a function's code. Raises PackingError, which says why there is none.

    `sources`: file name -> text of files that linecache does not know, or not as they were.
    """
    known = _recipes.get(code)
    if known is not None:
        return known
    reason = "its text is not known; define it with def in a cell or a file (not in exec, eval or below %%time)"
    for index, text in _indices(code, sources):
        reason = "the text there is not what it was made of; run its cell, or import its module, again"
        for scope in index.scopes.get((code.co_name, code.co_firstlineno), ()):
            recipe = _recipe(code, scope, text)
            if _makes(recipe, code, ()) or (index.imports and _makes(recipe, code, index.imports)):
                _recipes[code] = recipe
                return recipe
    raise PackingError(f"{name_of(code)} cannot go as source to another version of Python: {reason}")


def name_of(code: CodeType) -> str:
    """The function, as an error names it."""
    what = "the lambda" if code.co_name == "<lambda>" else f"the function {code.co_qualname!r}"
    return f"{what} in line {code.co_firstlineno} of {code.co_filename}"


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the warnings that Python gave when it compiled the same text before. One thread at a time, or the
    filters of one would be restored by another."""
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class _Index(NamedTuple):
    """The functions of a tree."""

    scopes: dict[tuple[str, int], list[Scope]]
    """By the name and first line that their code has."""
    imports: tuple[str, ...]
    """The names that are imported outside functions: the compiler calls their attributes in another way."""


def _indices(code: CodeType, sources: Mapping[str, str]) -> Iterator[tuple[_Index, str]]:
    """Where the code may come from, with the text of each: what was remembered, and its file."""
    origin = _origin_of(code)
    if origin is not None:
        yield _index(*origin), ""
    for text in _texts(code.co_filename, sources):
        try:
            yield _index_of_text(text), text
        except (SyntaxError, ValueError, MemoryError):
            continue  # a cell with a magic: what it defines was remembered


def _texts(filename: str, sources: Mapping[str, str]) -> Iterator[str]:
    tried = {sources.get(filename, "")}
    yield from filter(None, tried)
    for is_fresh in (False, True):
        if is_fresh:
            linecache.checkcache(filename)
        text = "".join(linecache.getlines(filename))
        if text and text not in tried:
            tried.add(text)
            yield text


@lru_cache(MAX_TEXTS)
def _index_of_text(text: str) -> _Index:
    with _quietly():
        return _index(ast.parse(text))


def _index(root: ast.AST, class_name: str | None = None) -> _Index:
    found: dict[tuple[str, int], list[Scope]] = {}
    for node, inside in trees.scopes(root, class_name):
        line = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])  # type: ignore[attr-defined]
        found.setdefault((getattr(node, "name", "<lambda>"), line), []).append((node, inside))
    return _Index(found, tuple(trees.imported_names(root)))


def _recipe(code: CodeType, scope: Scope, text: str) -> Recipe:
    """The recipe that may make this code."""
    node, class_name = scope
    names = [name for name in __future__.all_feature_names if code.co_flags & getattr(__future__, name).compiler_flag]
    last = getattr(node, "end_lineno", None) or code.co_firstlineno
    lines = "\n".join(text.split("\n")[code.co_firstlineno - 1 : last]) if text else ""
    return Recipe(
        tree=trees.flatten(_bare(node)),
        class_name=class_name,
        free=code.co_freevars,
        qualname=code.co_qualname,
        filename=code.co_filename,
        futures=tuple(name for name in names if getattr(__future__, name).compiler_flag > 0xFFFF),
        is_nested=bool(code.co_flags & _NESTED),
        lines=lines,
    )


def _makes(recipe: Recipe, code: CodeType, imports: Sequence[str]) -> bool:
    """Whether the recipe makes this code, in a module with these imports."""
    try:
        made = _compile(_tree_of(recipe), recipe, imports)
        flags = made.co_flags & ~_IN_CLASS | code.co_flags & _IN_CLASS
        return _is_same(made.replace(co_flags=flags), code)
    except PackingError:
        return False


def _is_same(one: CodeType, other: CodeType) -> bool:
    """Whether two codes do the same in the same lines; Python's own comparison leaves out where names come from."""
    if one != other or (one.co_freevars, one.co_cellvars) != (other.co_freevars, other.co_cellvars):
        return False
    return all(_is_same(*pair) for pair in zip(_inner(one), _inner(other), strict=True))


def _bare(node: ast.AST) -> ast.AST:
    """The function without what is evaluated when it is defined: decorators, defaults, annotations, type parameters."""
    fields = {name: getattr(node, name, None) for name in node._fields}
    arguments: ast.arguments = node.args  # type: ignore[attr-defined]
    fields["args"] = ast.arguments(
        posonlyargs=_plain(arguments.posonlyargs),
        args=_plain(arguments.args),
        vararg=_plain([arguments.vararg])[0] if arguments.vararg else None,
        kwonlyargs=_plain(arguments.kwonlyargs),
        kw_defaults=[None for _ in arguments.kwonlyargs],
        kwarg=_plain([arguments.kwarg])[0] if arguments.kwarg else None,
        defaults=[],
    )
    fields |= {"returns": None, "type_comment": None, "type_params": []} if "name" in fields else {}
    for decorator in getattr(node, "decorator_list", ())[:1]:  # its line is the function's first
        fields["decorator_list"] = [ast.copy_location(ast.Constant(0), decorator)]
    kept = {name: value for name, value in fields.items() if name in node._fields}
    return ast.copy_location(type(node)(**kept), node)


def _plain(arguments: Sequence[ast.arg]) -> list[ast.arg]:
    return [ast.copy_location(ast.arg(each.arg, None), each) for each in arguments]


# --- recipe to code ---------------------------------------------------------------------------------------------------


def build_code(*fields: Any) -> CodeType:
    """The code of a recipe that came from another Python. Raises PackingError if this one cannot compile it."""
    recipe = Recipe(*fields)
    tree = _tree_of(recipe)
    code = _compile(tree, recipe)
    _recipes[code] = recipe
    for inner in _inner(code):
        remember_tree(inner, tree, recipe.class_name)
    if recipe.lines:
        _show_lines(recipe, code.co_firstlineno)
    return code


def _tree_of(recipe: Recipe) -> ast.AST:
    return trees.unflatten(recipe.tree, _what(recipe))


def _what(recipe: Recipe) -> str:
    return f"{recipe.qualname!r} of {recipe.filename}"


def _compile(tree: ast.AST, recipe: Recipe, imports: Sequence[str] = ()) -> CodeType:
    futures = 0
    for name in recipe.futures:
        if name not in __future__.all_feature_names:
            raise PackingError(
                f"{_what(recipe)} needs a later version of Python: it has `from __future__ import {name}`"
            )
        futures |= getattr(__future__, name).compiler_flag
    try:
        with _quietly():
            head = [ast.Import([ast.alias(name, lineno=1, col_offset=0)], lineno=1, col_offset=0) for name in imports]
            module = ast.Module([*head, _wrapped(tree, recipe)], [])
            found: CodeType = compile(module, recipe.filename, "exec", futures, dont_inherit=True)
    except (SyntaxError, TypeError, ValueError) as error:  # of a tree that another version made
        raise PackingError(f"{_what(recipe)} cannot be compiled by this version of Python: {error}") from error
    for _ in ("maker", "function") if recipe.class_name is None else ("maker", "class", "function"):
        (found,) = _inner(found)
    if set(found.co_freevars) != set(recipe.free):
        raise PackingError(f"{_what(recipe)} takes other names here than there: {found.co_freevars}, not {recipe.free}")
    flags = found.co_flags & ~_NESTED | (_NESTED if recipe.is_nested else 0)
    return rename_code(found.replace(co_flags=flags), found.co_qualname, recipe.qualname)


def _wrapped(node: ast.AST, recipe: Recipe) -> ast.stmt:
    """The function in another whose parameters are its free names, and in the class whose private names it knows."""
    place = {name: getattr(node, name) for name in ("lineno", "col_offset", "end_lineno", "end_col_offset")}
    parameters = [ast.arg(name, **place) for name in recipe.free if name != "__class__" or recipe.class_name is None]
    statement: ast.stmt = node if isinstance(node, ast.stmt) else ast.Expr(node, **place)  # type: ignore[arg-type]
    maker = ast.parse("def maker(): pass").body[0]
    assert isinstance(maker, ast.FunctionDef)
    if recipe.class_name is not None:
        cls = ast.parse("class C: pass").body[0]
        assert isinstance(cls, ast.ClassDef)
        cls.name, cls.body = recipe.class_name, [statement]
        statement = ast.copy_location(cls, node)
    name = getattr(statement, "name", None)
    if name is not None and name not in recipe.free:
        maker.body = [ast.Global([name], **place), statement]  # who uses it does not mean the maker's
    else:
        maker.body = [statement]
    maker.name = _MAKER
    maker.args.args = parameters
    return ast.copy_location(maker, node)


def _inner(code: CodeType) -> list[CodeType]:
    return [each for each in code.co_consts if isinstance(each, CodeType)]


def rename_code(code: CodeType, old: str, new: str) -> CodeType:
    """The code, and what is inside it, with the qualified names that it has where it comes from."""
    if code.co_qualname != old and not code.co_qualname.startswith(old + "."):
        return code
    qualname = new + code.co_qualname[len(old) :]
    is_class = not code.co_flags & _OPTIMIZED
    constants = tuple(
        rename_code(each, old, new)
        if isinstance(each, CodeType)
        else qualname
        if is_class and each == code.co_qualname  # which it sets as its `__qualname__`
        else each
        for each in code.co_consts
    )
    return code.replace(co_qualname=qualname, co_consts=constants)


def _show_lines(recipe: Recipe, first: int) -> None:
    """Makes its lines known for tracebacks, beside those that are known of the same file."""
    new = [line + "\n" for line in recipe.lines.split("\n")]
    if linecache.getlines(recipe.filename)[first - 1 : first - 1 + len(new)] == new:
        return
    entry = linecache.cache.get(recipe.filename)
    known = list(entry[2]) if entry is not None and len(entry) == 4 and entry[1] is None else []
    known += ["\n"] * (first - 1 + len(new) - len(known))
    known[first - 1 : first - 1 + len(new)] = new
    linecache.cache[recipe.filename] = (sum(map(len, known)), None, known, recipe.filename)
