"""Runs pi.ipynb and shows in the terminal what happens in it; `make demo` does this.

The executed notebook and its figures are left in a folder; the pool that it has started is ended.
"""

from __future__ import annotations

import base64
import html
import re
import sys
from pathlib import Path
from typing import Any, TextIO

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

import nbdist
from nbdist import embedded

NOTEBOOK = Path(__file__).with_name("pi.ipynb")
SUMMARY_CELL = "result"
FIGURE_CELL = "all"
CELL_LIMIT_SECONDS = 600


class Screen:
    """Text for people: lines, and below them one line that is written over while something runs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._passing = ""

    def passing(self, text: str) -> None:
        """A line that the next one replaces; in a log file each stays."""
        end = "" if self._stream.isatty() else "\n"
        start = "\r" if self._stream.isatty() else ""
        self._stream.write(start + text.ljust(len(self._passing)) + end)
        self._stream.flush()
        self._passing = text

    def write(self, text: str) -> None:
        """Lines that stay."""
        if self._passing and self._stream.isatty():
            self._stream.write("\r" + " " * len(self._passing) + "\r")
        self._passing = ""
        self._stream.write(text.rstrip("\n") + "\n")
        self._stream.flush()


class ShownClient(NotebookClient):
    """Executes a notebook and passes on what its cells write and how far their jobs are."""

    screen = Screen(sys.stdout)

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        """Takes one message of the kernel's."""
        content = msg["content"]
        if msg["msg_type"] == "stream" and content["name"] == "stdout":
            self.screen.write(content["text"])
        elif msg["msg_type"] in ("display_data", "update_display_data", "execute_result"):
            self._show(content["data"])
        elif msg["msg_type"] == "comm_msg":
            state = content["data"].get("state", {})
            if isinstance(state.get("value"), str):
                self.screen.passing(headline(state["value"]))
        return super().process_message(msg, cell, cell_index)

    def _show(self, bundle: dict[str, Any]) -> None:
        if "application/vnd.jupyter.widget-view+json" in bundle:
            self.screen.passing(headline(bundle.get("text/html", "")))
        elif "image/png" not in bundle:
            self.screen.write(bundle.get("text/plain", ""))


def headline(widget: str) -> str:
    """The first line of a job's view, and its bar, as text."""
    line = re.search(r"<div>(.*?)</div>", widget, re.DOTALL)
    percent = re.search(r'aria-valuenow="(\d+)"', widget)
    full = int(percent[1]) // 4 if percent else 0
    text = html.unescape(re.sub(r"<[^>]+>", "", line[1] if line else "")).replace("\xa0", "")
    return f"[{'#' * full}{'.' * (25 - full)}] {text}" if percent else text


def run(folder: Path) -> None:
    """Executes the notebook; writes it and its figure into the folder."""
    notebook: Any = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    folder.mkdir(parents=True, exist_ok=True)
    client = ShownClient(
        notebook,
        timeout=CELL_LIMIT_SECONDS,
        kernel_name="python3",
        store_widget_state=False,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(NOTEBOOK.parent)}},
    )
    client.on_cell_start = lambda cell, cell_index: announce(cell, client.screen)
    try:
        client.execute()
    finally:
        nbformat.write(notebook, folder / NOTEBOOK.name)  # type: ignore[no-untyped-call]
    (folder / "pi.png").write_bytes(figure(notebook))
    client.screen.write(f"\n{summary(notebook)}\n\nwritten: {folder / NOTEBOOK.name}, {folder / 'pi.png'}")


def announce(cell: Any, screen: Screen) -> None:
    """Shows the heading of a part of the notebook when it begins."""
    heading = re.search(r"^#+ +(.*)", cell.source, re.MULTILINE) if cell.cell_type == "markdown" else None
    if heading is not None:
        screen.write(f"\n{heading[1]}\n{'-' * len(heading[1])}")


def summary(notebook: Any) -> str:
    """The estimate, the time and the speed-up, as the notebook has printed them."""
    texts = [output.text for output in _cell(notebook, SUMMARY_CELL).outputs if output.output_type == "stream"]
    return "".join(texts).strip()


def figure(notebook: Any) -> bytes:
    """The plot of the main job, a PNG."""
    pictures = [output.data["image/png"] for output in _cell(notebook, FIGURE_CELL).outputs if "data" in output
                and "image/png" in output.data]  # fmt: skip
    return base64.b64decode(pictures[-1])


def _cell(notebook: Any, cell_id: str) -> Any:
    return next(cell for cell in notebook.cells if cell.id == cell_id)


def end_pool() -> None:
    """Ends the embedded pool, hub and worker."""
    with nbdist.connect() as pool:
        pool.stop_workers()
    embedded.end()


def main() -> int:
    """Runs the demonstration; gives the exit code."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "build/demo")
    was_running = embedded.running() is not None
    try:
        run(folder)
    except CellExecutionError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if not was_running and embedded.running() is not None:
            end_pool()
    return 0


if __name__ == "__main__":
    sys.exit(main())
