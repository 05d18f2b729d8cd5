"""Tab completion for the magics: sub-commands, options and their arguments."""

from __future__ import annotations

from typing import Any

from nbdist.notebook.commands import COMMANDS
from nbdist.notebook.options import BY_NAME


def complete(shell: Any, event: Any) -> list[str]:
    """IPython's hook: what may stand where the cursor is. `event` has `line` and `symbol`."""
    words = event.line.split()
    return candidates(words, event.symbol)


def candidates(words: list[str], symbol: str) -> list[str]:
    """What may stand for the last word, of which `symbol` is there."""
    is_cell = words[0].startswith("%%")
    before = words[1:] if not symbol else words[1:-1]
    if not is_cell and before and before[0] in COMMANDS:
        found = COMMANDS[before[0]].options
    elif before and before[-1].removeprefix("--") in BY_NAME:
        found = [*BY_NAME[before[-1].removeprefix("--")].choices, *_options(before)]
    else:
        found = _options(before) if is_cell or before else [*COMMANDS, *_options(before)]
    return [each for each in found if each.startswith(symbol)]


def _options(before: list[str]) -> list[str]:
    """The options that do not stand there yet."""
    return [f"--{name}" for name in BY_NAME if f"--{name}" not in before]
