"""A job's results as a figure that is drawn again while they stream in.

Only `matplotlib.figure.Figure` is used, never pyplot: no global state, no window, any thread.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nbdist.client.failures import ItemFailure
from nbdist.notebook.forms import NotPlottable, PlotSpec, check

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nbdist.notebook.drawings import Drawing

FIGURE_INCHES = (7.0, 4.0)
PICTURE_DPI = 110


class LivePlot:
    """The plot of one job. Raises ImportError when matplotlib (or its NumPy) is not there."""

    def __init__(self, spec: PlotSpec) -> None:
        import matplotlib.figure

        from nbdist.notebook.drawings import DRAWINGS

        self._figure_type = matplotlib.figure.Figure
        self._kinds = DRAWINGS
        self._spec = spec
        self._drawing: Drawing | None = None
        self.problem = ""
        """Why there is nothing to see."""

    def add(self, values: Sequence[Any]) -> None:
        """Takes the next values, in order; those of items that failed are left out of the picture."""
        if not values or self.problem:
            return
        try:
            if self._drawing is None:
                proper = [value for value in values if not isinstance(value, ItemFailure)]
                if not proper:
                    return
                kind, form = check(self._spec, proper)
                self._drawing = self._kinds[kind](self._spec, form, proper)
            self._drawing.add(values)
        except NotPlottable as error:
            self.problem = str(error)

    def figure(self) -> Figure | None:
        """The figure of all values so far; None when there is nothing to draw."""
        if self._drawing is None or self.problem:
            return None
        figure = self._figure_type(figsize=FIGURE_INCHES, layout="constrained")
        self._drawing.draw(figure)
        if self._spec.title:
            figure.suptitle(self._spec.title, fontsize="medium")
        return figure

    def png(self) -> bytes | None:
        """The figure as a PNG file."""
        figure = self.figure()
        if figure is None:
            return None
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=PICTURE_DPI)
        return file.getvalue()
