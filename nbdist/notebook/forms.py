"""What values look like to a plot, which kind of plot suits them, and the same values as numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeAlias

MAX_COLUMNS = 8
"""Numbers in a value that are drawn as lines of their own; longer ones are rows of a picture."""


@dataclass(frozen=True)
class PlotSpec:
    """What is known about a job's items when its plot begins."""

    kind: str = "auto"
    loop_names: tuple[str, ...] = ()
    ranges: tuple[range, ...] = ()
    filters: bool = False
    """Values do not stand for consecutive items."""
    title: str = ""

    @property
    def axis(self) -> range | None:
        """The numbers that the values belong to, one each."""
        return self.ranges[0] if len(self.ranges) == 1 and not self.filters else None

    @property
    def is_grid(self) -> bool:
        return len(self.ranges) == 2 and not self.filters


class NotPlottable(Exception):
    """The values cannot be drawn; the message says why and shows the first of them."""


def check(spec: PlotSpec, values: Sequence[Any]) -> tuple[str, Form]:
    """The kind of plot, by what was asked for and by the first value, and that value's form. Raises NotPlottable."""
    form = form_of(values)
    kind = choose(spec, form) if spec.kind == "auto" else spec.kind
    allowed = FORMS_OF_KIND[kind]
    if form not in allowed:
        first = values[0]
        raise NotPlottable(
            f"a {kind} plot takes {' or '.join(_FORM_NAMES[each] for each in allowed)}; "
            f"the first value is of type {type(first).__name__}: {repr(first)[:200]}"
        )
    if kind == "heatmap" and not spec.is_grid:
        raise NotPlottable("a heatmap takes numbers over two ranges: x in range(…) for y in range(…), without `if`")
    return kind, form


def choose(spec: PlotSpec, form: str) -> str:
    """The kind of plot that suits a form of value."""
    if form == "number":
        if spec.is_grid:
            return "heatmap"
        return "line" if spec.ranges or spec.filters else "scatter"
    return {"pair": "scatter", "columns": "line", "fields": "line", "row": "image", "picture": "image"}.get(
        form, "line"
    )


Form: TypeAlias = str
_FORM_NAMES = {
    "number": "numbers",
    "pair": "pairs of numbers",
    "columns": "a few numbers",
    "fields": "dicts of numbers",
    "row": "rows of numbers",
    "picture": "2-d arrays",
}
FORMS_OF_KIND: dict[str, tuple[Form, ...]] = {
    "line": ("number", "pair", "columns", "fields"),
    "scatter": ("number", "pair", "columns"),
    "hist": ("number", "pair", "columns", "fields", "row"),
    "heatmap": ("number",),
    "image": ("row", "picture", "columns", "pair"),
    "convergence": ("number", "pair", "columns", "fields"),
}


def form_of(values: Sequence[Any]) -> Form:
    """What the first value looks like: number, pair, columns, fields, row, picture, or its type's name."""
    value = values[0]
    if _is_number(value):
        return "number"
    if isinstance(value, Mapping):
        return "fields" if value and all(_is_number(each) for each in value.values()) else "dict"
    ndim = getattr(value, "ndim", None)
    if ndim == 2 or (ndim == 3 and value.shape[2] in (3, 4)):
        return "picture" if value.dtype.kind in "biuf" else "array"
    if ndim == 1 and value.dtype.kind in "biuf" and len(value):
        return "pair" if len(value) == 2 else "columns" if len(value) <= MAX_COLUMNS else "row"
    if isinstance(value, (tuple, list)) and value and all(map(_is_number, value)):
        return "pair" if len(value) == 2 else "columns" if len(value) <= MAX_COLUMNS else "row"
    return type(value).__name__


def _is_number(value: Any) -> bool:
    if isinstance(value, Real):
        return True
    return (
        getattr(value, "ndim", None) == 0 and getattr(value, "dtype", None) is not None and value.dtype.kind in "biuf"
    )


def columns_of(values: Sequence[Any], form: Form, keys: Sequence[Any]) -> Any:
    """The values as a 2-d array of floats, NaN where an item failed or has another form."""
    import numpy as np

    if form == "number":
        try:
            return np.asarray(values, dtype=np.float64).reshape(-1, 1)
        except (TypeError, ValueError, OverflowError):
            return np.array([[_number(value)] for value in values])
    if form == "fields":
        return np.array([[_number(_field(value, key)) for key in keys] for value in values])
    try:
        return np.asarray(values, dtype=np.float64).reshape(len(values), len(keys))
    except (TypeError, ValueError, OverflowError):
        return np.array([[_number(_element(value, place)) for place in range(len(keys))] for value in values])


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def _field(value: Any, key: Any) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None


def _element(value: Any, place: int) -> Any:
    try:
        return value[place]
    except (TypeError, IndexError, KeyError):
        return None
