"""The kinds of plot: each takes values in order, keeps a bounded number of points and draws them with matplotlib."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nbdist.notebook.forms import MAX_COLUMNS, Form, PlotSpec, columns_of
from nbdist.notebook.series import Envelope, Grid, RunningMean, Sample

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_PICTURE_SIDE = 1024
MAX_PICTURES = 16


class Drawing(Protocol):
    """One kind of plot: takes values in order, draws what it keeps."""

    def add(self, values: Sequence[Any]) -> None: ...

    def draw(self, figure: Figure) -> None: ...


class _Numbers:
    """What all kinds share whose values are a few numbers each."""

    def __init__(self, spec: PlotSpec, form: Form, values: Sequence[Any]) -> None:
        self.spec, self.form = spec, form
        first = values[0]
        self.keys: list[Any] = (
            [""] if form == "number" else list(first) if form == "fields" else list(range(len(first)))
        )
        self.keys = self.keys if form == "row" else self.keys[:MAX_COLUMNS]

    def array(self, values: Sequence[Any]) -> Any:
        return columns_of(values, self.form, self.keys)

    def label_x(self, axes: Axes) -> None:
        axes.set_xlabel(
            self.spec.loop_names[0] if self.spec.axis is not None and self.spec.loop_names else "value number"
        )

    def positions(self, numbers: Any) -> Any:
        """Where values by their numbers stand on the axis of the loop."""
        axis = self.spec.axis
        return numbers if axis is None else axis.start + numbers * axis.step

    def legend(self, axes: Axes) -> None:
        if len(self.keys) > 1:
            axes.legend([str(key) for key in self.keys], fontsize="small")


class _Line(_Numbers):
    def __init__(self, spec: PlotSpec, form: Form, values: Sequence[Any]) -> None:
        super().__init__(spec, form, values)
        self._series = [Envelope() for _ in self.keys]

    def add(self, values: Sequence[Any]) -> None:
        for series, column in zip(self._series, self.array(values).T, strict=True):
            series.add(column)

    def draw(self, figure: Figure) -> None:
        axes = figure.add_subplot()
        for number, series in enumerate(self._series):
            position, low, high = series.points()
            x = self.positions(position)
            color = f"C{number}"
            axes.plot(x, (low + high) / 2, color=color, marker="." if len(x) < 60 else "", linewidth=1)
            if series.width > 1:
                axes.fill_between(x, low, high, color=color, alpha=0.3, linewidth=0)
        self.label_x(axes)
        self.legend(axes)


class _Scatter(_Numbers):
    def __init__(self, spec: PlotSpec, form: Form, values: Sequence[Any]) -> None:
        super().__init__(spec, form, values)
        self._sample = Sample()

    def add(self, values: Sequence[Any]) -> None:
        self._sample.add(self.array(values))

    def draw(self, figure: Figure) -> None:
        axes = figure.add_subplot()
        rows = self._sample.rows
        assert rows is not None
        size = 16 if len(rows) < 1000 else 3
        if self.form == "number":
            x = self.positions(np.arange(len(rows)) * self._sample.stride)
            axes.scatter(x, rows[:, 0], s=size, linewidths=0)
            self.label_x(axes)
        else:
            color = rows[:, 2] if rows.shape[1] > 2 else None
            drawn = axes.scatter(rows[:, 0], rows[:, 1], c=color, s=size, linewidths=0)
            if color is not None:
                figure.colorbar(drawn, ax=axes)


class _Hist(_Scatter):
    def draw(self, figure: Figure) -> None:
        axes = figure.add_subplot()
        rows = self._sample.rows
        assert rows is not None
        columns = [rows.ravel()] if self.form == "row" else list(rows.T)
        for column in columns:
            known = column[np.isfinite(column)]
            bins = int(min(100, max(10, len(known) ** 0.5)))
            axes.hist(known, bins=bins, alpha=0.9 if len(columns) == 1 else 0.5)
        axes.set_ylabel("values" if self._sample.stride == 1 else f"values (one in {self._sample.stride})")
        if self.form != "row":
            self.legend(axes)


class _Convergence(_Numbers):
    def __init__(self, spec: PlotSpec, form: Form, values: Sequence[Any]) -> None:
        super().__init__(spec, form, values)
        self._means = [RunningMean() for _ in self.keys]

    def add(self, values: Sequence[Any]) -> None:
        for mean, column in zip(self._means, self.array(values).T, strict=True):
            mean.add(column)

    def draw(self, figure: Figure) -> None:
        axes = figure.add_subplot()
        texts = []
        for number, mean in enumerate(self._means):
            count, middle, error = mean.points()
            color = f"C{number}"
            axes.plot(count, middle, color=color, linewidth=1.2)
            axes.fill_between(count, middle - 1.96 * error, middle + 1.96 * error, color=color, alpha=0.25, linewidth=0)
            if mean.last is not None:
                texts.append(with_error(mean.last[1], 1.96 * mean.last[2]))
        axes.set_xlabel("values")
        axes.set_ylabel("mean, with its 95 % interval")
        axes.set_title("   ".join(texts), fontsize="medium")


def with_error(value: float, error: float) -> str:
    """A value and its error, both to the second digit of the error: `3.14161 ± 0.000064` is `3.141610 ± 0.000064`."""
    if not 1e-12 < error < 1e12:
        return f"{value:.6g}"
    decimals = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{decimals}f} ± {error:.{decimals}f}"


class _Heatmap:
    def __init__(self, spec: PlotSpec, form: Form, values: Sequence[Any]) -> None:
        self._spec, self._form = spec, form
        self._grid = Grid(len(spec.ranges[0]), len(spec.ranges[1]))

    def add(self, values: Sequence[Any]) -> None:
        self._grid.add(columns_of(values, self._form, [""])[:, 0])

    def draw(self, figure: Figure) -> None:
        axes = figure.add_subplot()
        rows, columns = self._spec.ranges
        extent = (*_edges(columns), *_edges(rows))
        drawn = axes.imshow(self._grid.means(), origin="lower", aspect="auto", extent=extent, interpolation="nearest")
        figure.colorbar(drawn, ax=axes)
        names = self._spec.loop_names
        axes.set_ylabel(names[0] if names else "")
        axes.set_xlabel(names[1] if len(names) > 1 else "")


def _edges(axis: range) -> tuple[float, float]:
    return axis.start - axis.step / 2, axis.start + (len(axis) - 0.5) * axis.step


class _Rows(_Numbers):
    """Values that are rows: one picture of all of them, one below the other."""

    def __init__(self, spec: PlotSpec, form: Form, values: Sequence[Any]) -> None:
        super().__init__(spec, form, values)
        self._step = -(-len(self.keys) // MAX_PICTURE_SIDE)
        self._sample = Sample(MAX_PICTURE_SIDE)

    def add(self, values: Sequence[Any]) -> None:
        self._sample.add(self.array(values)[:, :: self._step])

    def draw(self, figure: Figure) -> None:
        assert self._sample.rows is not None
        axes = figure.add_subplot()
        drawn = axes.imshow(self._sample.rows, aspect="auto", interpolation="nearest")
        figure.colorbar(drawn, ax=axes)
        axes.set_ylabel("value number" if self._sample.stride == 1 else f"value number / {self._sample.stride}")


class _Pictures:
    """Values that are pictures: the first of them side by side."""

    def __init__(self, spec: PlotSpec, form: Form, values: Sequence[Any]) -> None:
        self._pictures: list[Any] = []
        self._count = 0

    def add(self, values: Sequence[Any]) -> None:
        self._count += len(values)
        for value in values[: MAX_PICTURES - len(self._pictures)]:
            if getattr(value, "ndim", 0) in (2, 3):
                step = -(-max(value.shape[:2]) // MAX_PICTURE_SIDE)
                self._pictures.append(value[::step, ::step])

    def draw(self, figure: Figure) -> None:
        side = max(1, round(len(self._pictures) ** 0.5))
        columns = -(-len(self._pictures) // side)
        for number, picture in enumerate(self._pictures):
            axes = figure.add_subplot(side, columns, number + 1)
            axes.imshow(picture)
            axes.set_axis_off()
        if self._count > len(self._pictures):
            figure.supxlabel(f"the first {len(self._pictures)} of {self._count:,}", fontsize="small")


def _image(spec: PlotSpec, form: Form, values: Sequence[Any]) -> Drawing:
    return _Pictures(spec, form, values) if form == "picture" else _Rows(spec, form, values)


DRAWINGS: dict[str, Callable[[PlotSpec, Form, Sequence[Any]], Drawing]] = {
    "line": _Line,
    "scatter": _Scatter,
    "hist": _Hist,
    "heatmap": _Heatmap,
    "image": _image,
    "convergence": _Convergence,
}
