"""Results that are not acknowledged yet: their bytes, or the files in which these lie."""

from __future__ import annotations

from pathlib import Path

from nbdist.wire.frames import Payload
from nbdist.wire.messages import Attempt, Part
from nbdist.worker.orders import DropParts, KeepPart, PlaceBlob


class KeptParts:
    """Parts by attempt and first item."""

    def __init__(self) -> None:
        self._parts: dict[Attempt, dict[int, tuple[int, bytes | Path]]] = {}
        """Attempt -> start of a part -> its stop, and its payload or the file of it."""

    def keep(self, order: KeepPart, payload: Payload) -> None:
        """A part with its payload."""
        self._parts.setdefault(order.attempt, {})[order.start] = (order.stop, bytes(payload))

    def keep_file(self, order: PlaceBlob) -> None:
        """A part whose payload lies in a file, which goes with it."""
        self._parts.setdefault(order.attempt, {})[order.start] = (order.stop, Path(order.path))

    def payload(self, part: Part) -> bytes:
        """The payload of a part; empty if that is a blob, or is not here."""
        _, kept = self._parts.get(part.attempt, {}).get(part.start, (0, b""))
        return kept if isinstance(kept, bytes) else b""

    def drop(self, order: DropParts) -> None:
        """Parts up to `order.stop` are safe elsewhere, or not wanted any more."""
        parts = self._parts.get(order.attempt, {})
        for start in [start for start, (stop, _) in parts.items() if stop <= order.stop]:
            _, kept = parts.pop(start)
            if isinstance(kept, Path):
                kept.unlink(missing_ok=True)
        if not parts:
            self._parts.pop(order.attempt, None)
