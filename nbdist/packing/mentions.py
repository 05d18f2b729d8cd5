"""Names that code looks up by their text: in `eval` and `exec`, through `globals()`, in the queries of data frames."""

from __future__ import annotations

import ast
import re
import string
import warnings
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType

_BY_TEXT = frozenset({"eval", "exec", "globals", "vars", "locals"})
"""What reads names in text: those of the text's code, or of its format."""
_QUERIES = frozenset({"query", "eval"})
"""Methods of data frames that read `@name`."""
_AT = re.compile(r"@([^\W\d]\w*)")
_TRIMMED = re.compile(r"^[^\w(\[{]+|[^\w)\]}]+$")
_HAS_DOC = 0x4000000
"""The flag of code with a docstring, from Python 3.13 on."""
MAX_TEXT_CHARS = 10_000
MAX_CODES = 4096
"""What so many codes mention is kept."""


@lru_cache(MAX_CODES)
def mentioned_names(code: CodeType) -> frozenset[str]:
    """The names that code, or code inside it, may look up by text; most code does not, and mentions none."""
    codes = [code, *_inner(code)]
    used = {name for one in codes for name in one.co_names}
    found: set[str] = set()
    if not used.isdisjoint(_BY_TEXT | _QUERIES):
        for text in {text for one in codes for text in _texts(one)}:
            if not used.isdisjoint(_BY_TEXT):
                found |= _names_of_code(text) | _names_of_format(text)
            if not used.isdisjoint(_QUERIES):
                found |= set(_AT.findall(text))
    return frozenset(found.difference(*(one.co_varnames for one in codes)))


def _inner(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _inner(constant)


def _texts(code: CodeType) -> Iterator[str]:
    """The text that is written in code, but for its docstring."""
    first = code.co_consts[:1]
    is_doc = bool(code.co_flags & _HAS_DOC) or (not hasattr(code, "co_branches") and code.co_name[:1] != "<")
    for constant in code.co_consts[1 if is_doc and first and isinstance(first[0], str) else 0 :]:
        for text in constant if isinstance(constant, tuple) else (constant,):
            if isinstance(text, str) and len(text) <= MAX_TEXT_CHARS:
                yield text


def _names_of_code(text: str) -> set[str]:
    for candidate in (text.strip(), _TRIMMED.sub("", text)):  # a piece of an f-string begins or ends with an operator
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(candidate)
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            continue
        return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return set()


def _names_of_format(text: str) -> set[str]:
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(text) if field]
    except ValueError:
        return set()
    return {re.split(r"[.\[]", field)[0] for field in fields}
