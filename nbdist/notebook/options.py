"""The options of a cell: which there are, and where they begin and end in its first line.

An option begins at ` --name` outside brackets and strings. Expressions need no quotes: their text runs to the next
option, or to a `for` that begins the head.
"""

from __future__ import annotations

import difflib
import keyword
import re
from collections.abc import Callable, Container
from dataclasses import dataclass, field, replace
from typing import Literal

from nbdist.errors import CellError
from nbdist.notebook.text import HIDDEN, FirstLine, Source

PLOT_KINDS = ("auto", "line", "scatter", "hist", "heatmap", "image", "convergence")


@dataclass(frozen=True)
class Option:
    """One option: its name without dashes, and what it takes."""

    name: str
    takes: Literal["nothing", "word", "maybe", "expression"]
    metavar: str
    help: str
    choices: tuple[str, ...] = ()
    pattern: str = r"\S+"
    """What a word must look like (for `maybe`: otherwise it is no argument)."""


OPTIONS: tuple[Option, ...] = (
    Option("reduce", "expression", "F", "fold all values: sum, min, max, any, all or an associative function of two"),
    Option("keep-if", "expression", "EXPR", "keep only values for which it holds; _ is the value"),
    Option("stop-when", "expression", "EXPR", "end the job at the first value for which it holds; _ is the value"),
    Option("plot", "maybe", "[KIND]", f"draw the values as they come: {', '.join(PLOT_KINDS)}", PLOT_KINDS),
    Option("task-size", "word", "N", "hand out exactly N items at once"),
    Option("time-limit", "word", "S", "an item that takes longer than S seconds is interrupted, and fails"),
    Option("retries", "word", "N", "try an item that raises or takes too long again, up to N times"),
    Option("on-error", "word", "stop|keep", "end at the first item that fails, or keep it", ("stop", "keep")),
    Option("seed", "word", "N", "the same random numbers in each run"),
    Option("try", "maybe", "[N]", "a rehearsal of N items (3): value, time, bytes, and an estimate", pattern=r"\d+"),
    Option(
        "resume",
        "maybe",
        "[ID]",
        "take over what an ended job has done (ID: %distribute jobs), run only the items that are missing",
        pattern=r"(?=\w*\d)[0-9a-f]{4,}|[0-9a-f]{16}",
    ),
    Option("each", "word", "machine|slot", "run the cell once on each; gives a dict by name", ("machine", "slot")),
    Option("needs", "word", '"NEEDS"', 'only on machines that have it: gpu, "memory>=8GB", linux, worker=NAME'),
    Option("env", "word", "NAME[,NAME]", "items see the environment variable NAME with the value that it has here"),
    Option("files", "word", "DIR", "what items write to nbdist.files() comes into the folder DIR (quotes for blanks)"),
    Option(
        "to", "word", "FILE", "values go to a .csv, .jsonl, .npy or .parquet file as they come, and not into memory"
    ),
    Option("stats", "nothing", "", "with --to FILE.csv: the job's timings, as FILE.stats.json"),
    Option("setup", "nothing", "", "each slot runs the cell once, before its next items: later cells know its names"),
    Option("fresh", "nothing", "", "compute again, although the results of the same cell are known"),
    Option("background", "nothing", "", "return at once; -> NAME becomes the job"),
    Option("name", "word", "TEXT", "the job's name, or the setup's (in quotes if it has blanks)"),
    Option("help", "nothing", "", "show this"),
)
BY_NAME = {option.name: option for option in OPTIONS}


@dataclass(frozen=True)
class Span:
    """A part of the cell's text, `[start, end)`."""

    start: int
    end: int

    def of(self, text: str) -> str:
        return text[self.start : self.end]


@dataclass(frozen=True)
class Parts:
    """A first line taken apart: the head itself, the options with their arguments, and the name after `->`."""

    head: Span | None
    options: dict[str, Span | None] = field(default_factory=dict)
    """Name -> argument; None for options that stand without one."""
    target: str | None = None

    def word(self, name: str, text: str, default: str | None = None) -> str | None:
        """The argument of a word option, without its quotes."""
        span = self.options.get(name)
        return default if span is None else _unquote(span.of(text))


_OPTION = re.compile(r"(?<!\S)--([A-Za-z][\w-]*)(?P<equals>=)?(?=\s|$|(?<==))", re.ASCII)
_ARROW = re.compile(r"->\s*(?P<name>[^\s\0]*)")
_FOR = re.compile(r"(?<!\S)for(?![\w=])")


def split(source: Source, start: int, first: FirstLine, known_names: Container[str] = ()) -> Parts:
    """Takes the first line apart. `known_names`: what ` --name` may negate, because it is a name of the notebook.

    Raises CellError for unknown and repeated options, missing arguments and what stands where nothing may stand.
    """
    masked, target = _take_target(source, start, first)
    marks = _find_options(source, masked, start, first.end, known_names)
    until = marks[0].start() if marks else first.end
    found = _strip(masked, start, until)
    parts = Parts(found, target=target)
    for number, mark in enumerate(marks):
        end = marks[number + 1].start() if number + 1 < len(marks) else first.end
        parts = _take_option(source, masked, mark, end, parts)
    return parts


def _take_target(source: Source, start: int, first: FirstLine) -> tuple[str, str | None]:
    """The masked text without `-> NAME`, and the name."""
    arrows = list(_ARROW.finditer(first.masked, start, first.end))
    if not arrows:
        return first.masked, None
    if len(arrows) > 1:
        raise source.refuse(arrows[1].start(), "there is a second `->`", "Bind the values to one name.")
    arrow = arrows[0]
    name = arrow["name"]
    if not name.isidentifier() or keyword.iskeyword(name):
        raise source.refuse(arrow.start(), "`->` must be followed by one name", "Write `-> values`, say.")
    return first.masked[: arrow.start()] + " " * len(arrow[0]) + first.masked[arrow.end() :], name


def _find_options(
    source: Source, masked: str, start: int, end: int, known_names: Container[str]
) -> list[re.Match[str]]:
    marks = []
    for mark in _OPTION.finditer(masked, start, end):
        if mark[1] in BY_NAME:
            marks.append(mark)
        elif not _negates(mark[1], masked[start : mark.start()], known_names):
            raise source.refuse(mark.start(), f"there is no option --{mark[1]}", _suggest(mark[1]))
    return marks


def _negates(name: str, before: str, known_names: Container[str]) -> bool:
    """Whether ` --name` is Python's own minus minus, on a name of the notebook or of the head."""
    return name.isidentifier() and (name in known_names or re.search(rf"\b{name}\b", before) is not None)


def _suggest(name: str) -> str:
    close = difflib.get_close_matches(name, BY_NAME, n=3, cutoff=0.5)
    if close:
        return "Did you mean " + " or ".join(f"--{match}" for match in close) + "?"
    return "The options are: " + ", ".join(f"--{known}" for known in BY_NAME) + "."


def _take_option(source: Source, masked: str, mark: re.Match[str], end: int, parts: Parts) -> Parts:
    option = BY_NAME[mark[1]]
    if option.name in parts.options:
        raise source.refuse(mark.start(), f"--{option.name} stands here twice", "Leave one of them out.")
    argument, rest = _ARGUMENTS[option.takes](source, option, masked, _strip(masked, mark.end(), end))
    if argument is None and option.takes in ("word", "expression"):
        raise source.refuse(mark.start(), f"--{option.name} needs {option.metavar}", f"{_usage(option)}.")
    parts = replace(parts, options={**parts.options, option.name: argument})
    if rest is None:
        return parts
    if parts.head is not None:
        raise source.refuse(rest.start, "nothing may stand here", f"{_usage(option)}; put blanks into (…) or quotes.")
    return replace(parts, head=rest)


def _usage(option: Option) -> str:
    return f"--{option.name} {option.metavar}: {option.help}".replace(" :", ":")


_Taken = tuple[Span | None, Span | None]


def _nothing(source: Source, option: Option, masked: str, span: Span | None) -> _Taken:
    return None, span


def _word(source: Source, option: Option, masked: str, span: Span | None) -> _Taken:
    if span is None:
        return None, None
    word, rest = _first_word(masked, span)
    if option.choices and _unquote(word.of(source.text)) not in option.choices:
        raise source.refuse(word.start, f"--{option.name} takes {option.metavar}", f"{option.help.capitalize()}.")
    return word, rest


def _maybe(source: Source, option: Option, masked: str, span: Span | None) -> _Taken:
    if span is None:
        return None, None
    word, rest = _first_word(masked, span)
    text = word.of(source.text)
    fits = text in option.choices if option.choices else re.fullmatch(option.pattern, text)
    if fits:
        return word, rest
    if rest is None and option.choices:  # a single word is no head: it was meant as the kind
        close = difflib.get_close_matches(text, option.choices, n=1)
        todo = f"Did you mean {close[0]}?" if close else f"It takes {', '.join(option.choices)}."
        raise source.refuse(word.start, f"--{option.name} does not know {text}", todo)
    return None, span


def _expression(source: Source, option: Option, masked: str, span: Span | None) -> _Taken:
    if span is None:
        return None, None
    loop = _FOR.search(masked, span.start, span.end)
    if loop is not None:
        return _strip(masked, span.start, loop.start()), _strip(masked, loop.start(), span.end)
    return _inside_quotes(source.text, masked, span), None


_ARGUMENTS: dict[str, Callable[[Source, Option, str, Span | None], _Taken]] = {
    "nothing": _nothing,
    "word": _word,
    "maybe": _maybe,
    "expression": _expression,
}


def _strip(masked: str, start: int, end: int) -> Span | None:
    """The span without blanks at its ends; None when nothing is left."""
    text = masked[start:end]
    inner = text.strip()
    if not inner:
        return None
    start += text.index(inner)
    return Span(start, start + len(inner))


def _first_word(masked: str, span: Span) -> tuple[Span, Span | None]:
    found = re.compile(r"\S+").match(masked, span.start, span.end)
    end = span.end if found is None else found.end()
    return Span(span.start, end), _strip(masked, end, span.end)


def _inside_quotes(text: str, masked: str, span: Span) -> Span:
    """An expression that somebody has put in quotes, without them."""
    inner = span.of(text)
    whole = set(masked[span.start : span.end]) == {HIDDEN}
    if whole and len(inner) > 2 and inner[0] in "\"'" and inner.find(inner[0], 1) == len(inner) - 1:
        return Span(span.start + 1, span.end - 1)
    return span


def _unquote(text: str) -> str:
    return text[1:-1] if len(text) >= 2 and text[0] in "\"'" and text[-1] == text[0] else text


def option_help() -> str:
    """The table of options, for `--help`."""
    usages = [f"--{option.name} {option.metavar}".rstrip() for option in OPTIONS]
    width = max(map(len, usages))
    return "\n".join(f"  {usage:{width}}  {option.help}" for usage, option in zip(usages, OPTIONS, strict=True))


def refuse_together(source: Source, parts: Parts, first: str, second: str, why: str) -> CellError | None:
    """The error for two options that exclude each other; None when they do not both stand."""
    if first in parts.options and second in parts.options:
        return source.refuse(0, f"--{first} and --{second} do not go together", why)
    return None
