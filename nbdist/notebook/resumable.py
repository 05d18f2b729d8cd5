"""Which job a cell resumes that names none, or only the beginning of an id: a look at the pool's list of jobs. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nbdist.errors import CellError

Row = Mapping[str, Any]
"""Of `engines.base.Engine.describe`."""

LIST = "`%distribute jobs` lists them"
_UNNAMED = re.compile(r"cell \d+")


def with_id(rows: Iterable[Row], beginning: str) -> str:
    """The id of the one job whose id begins so. Raises CellError."""
    matching = [str(row["id"]) for row in rows if row["id"].startswith(beginning)]
    if beginning in matching:
        return beginning
    if len(matching) != 1:
        what = "no job has" if not matching else "several jobs have"
        raise CellError(f"{what} an id that begins with {beginning!r}; {LIST}")
    return matching[0]


def newest(rows: Sequence[Row], name: str, total: int | None, last_job: str | None) -> Row:
    """The job that a cell of this name with so many items resumes: this kernel's last one if it fits, or else the
    newest that fits. Raises CellError if none does.

    One fits that has ended, has some values but not all, and has the same name and number of items. Jobs of other
    notebooks that are open are theirs.
    """
    last = [row for row in rows if row["id"] == last_job]
    own = {row["owner"] for row in last}
    others = [row for row in rows if row["owner"] in own or not row.get("is_open", False)]
    for row in [*last, *others]:
        if _is_partial(row) and _is_same(row, name, total, is_last=row["id"] == last_job):
            return row
    items = "" if total is None else f" with {total:,} items"
    raise CellError(
        f"--resume finds no job of {name!r}{items} that has ended with some of its values missing. Name one: "
        f"--resume ID; {LIST}"
    )


def _is_partial(row: Row) -> bool:
    """Whether it has ended with some values, and not with all."""
    if row["state"] not in ("done", "failed", "cancelled") or row["done"] <= row["failed"]:
        return False
    return bool(row.get("left", 0)) if row.get("left") is not None else row["state"] != "done"


def _is_same(row: Row, name: str, total: int | None, *, is_last: bool) -> bool:
    """Whether it may be a run of the same cell: one without a name is called by its number, which each run changes."""
    known = row["total"] is not None and total is not None
    if known and row["total"] != total:
        return False
    if row["name"] == name:
        return True
    return bool(_UNNAMED.fullmatch(name) and _UNNAMED.fullmatch(row["name"])) and (known or is_last)
