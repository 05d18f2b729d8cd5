"""What items wrote, on its way to a page: gathered to a few updates a second, each of a bounded size. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from nbdist.client.state import OutputText
from nbdist.execution.setups import mark
from nbdist.wire.messages import Stream

UPDATE_SECONDS = 0.3
"""A page gets each stream once in so long."""
UPDATE_CHARS = 128 * 1024
"""… and so much of it at once. Jupyter's server drops what comes faster than 1 MB a second."""
MAX_WAITING_CHARS = 512 * 1024
"""So much of each stream waits for its turn; what comes meanwhile is counted and left out."""
MAX_PAGE_CHARS = 4 * 1024 * 1024
"""So much of each stream is shown under one cell: a notebook with more can hardly be opened again."""
STREAMS: tuple[Stream, ...] = ("stdout", "stderr")


def cut_mark(text: OutputText) -> str:
    """The line that stands for what its slot, or the way here, has left out; empty if that is nothing."""
    whose = f"of setup {text.setup!r}" if text.setup else f"of items up to {text.item}"
    return f"\n[{text.cut_bytes:,} bytes more, {whose}, left out]\n" if text.cut_bytes else ""


def shown(text: OutputText) -> str:
    """The text; what a setup wrote has its name and its machine's before each line."""
    if not text.setup:
        return text.text
    before = mark(text.setup, text.machine)
    return "".join(f"{before}{line.rstrip(chr(10))}\n" for line in text.text.splitlines(keepends=True))


def joined(texts: Iterable[OutputText]) -> dict[Stream, str]:
    """All texts of each stream, with their marks."""
    pieces: dict[Stream, list[str]] = {}
    for text in texts:
        pieces.setdefault(text.stream, []).append(shown(text) + cut_mark(text))
    return {stream: "".join(pieces[stream]) for stream in STREAMS if stream in pieces}


class Printout:
    """What is to be written under one cell."""

    def __init__(self) -> None:
        self._lanes: dict[Stream, _Lane] = {stream: _Lane() for stream in STREAMS}
        self._written_at = float("-inf")

    def add(self, texts: Iterable[OutputText]) -> None:
        """Takes what is new."""
        for stream, text in joined(texts).items():
            self._lanes[stream].add(text)

    def due(self, now: float) -> dict[Stream, str]:
        """What is to be written now."""
        if now - self._written_at < UPDATE_SECONDS:
            return {}
        found = self._taken(UPDATE_CHARS)
        if found:
            self._written_at = now
        return found

    def rest(self) -> dict[Stream, str]:
        """All that waits: nothing more will come."""
        for lane in self._lanes.values():
            lane.end()
        return self._taken(None)

    def _taken(self, most_chars: int | None) -> dict[Stream, str]:
        texts = {stream: lane.take(most_chars) for stream, lane in self._lanes.items()}
        return {stream: text for stream, text in texts.items() if text}


class _Lane:
    """One stream."""

    def __init__(self) -> None:
        self._waiting: deque[str] = deque()
        self._waiting_chars = self._all_chars = self._left_out = 0
        self._is_full = False

    def add(self, text: str) -> None:
        if self._is_full:
            self._left_out += len(text)
            return
        room = max(0, min(MAX_WAITING_CHARS - self._waiting_chars, MAX_PAGE_CHARS - self._all_chars))
        if room:
            self._note_gap()
            self._put(text[:room])
        self._left_out += len(text) - len(text[:room])
        if self._all_chars >= MAX_PAGE_CHARS:
            self._is_full = True
            self._put("\n[no more is shown under this cell: nbdist.last_job.output has what was written last]\n")

    def take(self, most_chars: int | None) -> str:
        """The first that waits, and no more than this."""
        pieces = []
        left = self._waiting_chars if most_chars is None else most_chars
        while self._waiting and left > 0:
            piece = self._waiting.popleft()
            if len(piece) > left:
                self._waiting.appendleft(piece[left:])
                piece = piece[:left]
            pieces.append(piece)
            left -= len(piece)
        text = "".join(pieces)
        self._waiting_chars -= len(text)
        return text

    def end(self) -> None:
        self._note_gap()

    def _note_gap(self) -> None:
        if self._left_out:
            count, self._left_out = self._left_out, 0
            why = "" if self._is_full else ": they came faster than a page can show them"
            self._put(f"\n[{count:,} characters left out{why}]\n")

    def _put(self, text: str) -> None:
        self._waiting.append(text)
        self._waiting_chars += len(text)
        self._all_chars += len(text)
