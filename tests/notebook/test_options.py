"""Taking a first line apart: whatever its expressions hold, head, options and target are found again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdist.errors import CellError
from nbdist.notebook.options import BY_NAME, OPTIONS, Parts, option_help, split
from nbdist.notebook.text import Source, logical_line

PREFIX = "%%distribute "


def take_apart(line: str) -> tuple[Parts, Source]:
    source = Source(PREFIX + line)
    return split(source, len(PREFIX), logical_line(source, len(PREFIX))), source


atoms = st.sampled_from(
    ["x", "n + 1", "'a --plot b'", '"-> y"', "f(x --plot y)", "[1, 2]", "{'k': '#'}", "'''it's'''", "(lambda: 3)", "_"]
)
expressions = st.lists(atoms, min_size=1, max_size=3).map(" + ".join)
arguments = {
    "reduce": expressions,
    "keep-if": expressions,
    "stop-when": expressions,
    "plot": st.sampled_from(["", "hist", "auto"]),
    "task-size": st.sampled_from(["1", "k*2", "(10 ** 3)", "int('7')"]),
    "time-limit": st.sampled_from(["5", "0.5", "2*minute"]),
    "retries": st.integers(0, 9).map(str),
    "on-error": st.sampled_from(["stop", "keep"]),
    "seed": st.integers(0, 10**9).map(str),
    "try": st.sampled_from(["", "7"]),
    "resume": st.sampled_from(["", "3f2a", "7e3f51342eb98718", "0123"]),
    "each": st.sampled_from(["machine", "slot"]),
    "needs": st.sampled_from(["gpu", "'memory>=8GB, linux'", "worker=lab-*"]),
    "env": st.sampled_from(["HOME", "TOKEN,URL", "'A, B'"]),
    "files": st.sampled_from(["plots", "'my plots'", "../out/x"]),
    "to": st.sampled_from(["values.csv", '"my values.npy"']),
    "stats": st.just(""),
    "setup": st.just(""),
    "fresh": st.just(""),
    "background": st.just(""),
    "name": st.sampled_from(["pi", "'two words'", '"--plot -> #"']),
    "help": st.just(""),
}
chosen = st.lists(st.sampled_from(sorted(arguments)), unique=True, max_size=6).flatmap(
    lambda names: st.fixed_dictionaries({name: arguments[name] for name in names})
)
heads = expressions.map(lambda text: f"n in {text}")
targets = st.none() | st.sampled_from(["xs", "_all", "größe"])


def written(options: dict[str, str]) -> str:
    return "".join(f" --{name} {argument}".rstrip() for name, argument in options.items())


def test_every_option_is_generated() -> None:
    assert arguments.keys() == BY_NAME.keys()


@given(heads, chosen, targets, st.booleans())
def test_options_after_the_head(head: str, options: dict[str, str], target: str | None, arrow_first: bool) -> None:
    arrow = f" -> {target}" if target else ""
    line = head + (arrow + written(options) if arrow_first else written(options) + arrow)
    parts, source = take_apart(line)
    assert parts.head is not None
    assert parts.head.of(source.text) == head
    assert parts.target == target
    found = {name: "" if span is None else span.of(source.text) for name, span in parts.options.items()}
    unquoted = {
        name: text[1:-1] if name in ("reduce", "keep-if", "stop-when") and text in ("'a --plot b'", '"-> y"') else text
        for name, text in options.items()
    }
    assert found == unquoted


@given(heads, chosen)
def test_options_before_the_head(head: str, options: dict[str, str]) -> None:
    parts, source = take_apart(f"{written(options)} --background for {head}".replace(" --background for", " for", 1))
    assert parts.head is not None
    assert parts.head.of(source.text) == f"for {head}"
    assert parts.options.keys() == options.keys()


@given(st.text(max_size=40))
def test_any_text_is_taken_apart_or_refused(text: str) -> None:
    try:
        parts, source = take_apart(text)
    except CellError:
        return
    spans = [span for span in (parts.head, *parts.options.values()) if span is not None]
    assert all(span.of(source.text).strip() for span in spans)


@pytest.mark.parametrize(
    ("line", "head"),
    [
        ("n in x  # --plot", "n in x"),
        ("--seed=3 n in x", "n in x"),
        ("n in x --name='a b'", "n in x"),
        ("", None),
        ("--help", None),
    ],
)
def test_head_found(line: str, head: str | None) -> None:
    parts, source = take_apart(line)
    assert (parts.head.of(source.text) if parts.head else None) == head


def test_words_lose_their_quotes() -> None:
    parts, source = take_apart("n in x --name='a b' --seed=3")
    assert parts.word("name", source.text) == "a b"
    assert parts.word("seed", source.text) == "3"
    assert parts.word("each", source.text, "nowhere") == "nowhere"


def test_the_help_names_every_option() -> None:
    text = option_help()
    assert all(f"--{option.name}" in text and option.help in text for option in OPTIONS)


@pytest.mark.parametrize("line", ["--resume n in range(9)", "--resume face in range(9)", "n in range(9) --resume"])
def test_a_head_is_no_id(line: str) -> None:
    parts, source = take_apart(line)
    assert parts.options == {"resume": None}
    assert parts.head is not None
    assert parts.head.of(source.text).endswith("in range(9)")
