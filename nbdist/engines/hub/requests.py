"""Questions to the hub: numbered, answered by `Answer`, asked again on a new connection, with a time limit."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from nbdist.errors import ConnectionFailedError, NbdistError
from nbdist.wire import frames
from nbdist.wire.messages import Answer, Message

LIMIT_SECONDS = 15.0


class Requests:
    """The questions of one engine that wait for their answers. Any thread may ask."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[bytes, Future[bytes]]] = {}
        self._lock = threading.Lock()

    def ask(self, make: Callable[[int], Message], limit_seconds: float = LIMIT_SECONDS) -> bytes:
        """Sends the message that `make` gives for a number and returns the answer's payload, or else its text.

        Raises NbdistError with what the hub said, and ConnectionFailedError if it says nothing in time.
        """
        number = next(self._numbers)
        message = make(number)
        frame = frames.encode(message)
        future: Future[bytes] = Future()
        with self._lock:
            self._waiting[number] = (frame, future)
        try:
            self._send(frame)
            return future.result(limit_seconds)
        except TimeoutError:
            raise ConnectionFailedError(
                f"the hub has not answered {type(message).__name__} within {limit_seconds:.0f} s: is it still running?"
            ) from None
        finally:
            with self._lock:
                self._waiting.pop(number, None)

    def ask_json(self, make: Callable[[int], Message]) -> Any:
        """Like `ask`, for an answer that is JSON; None if it is empty."""
        data = self.ask(make)
        return json.loads(data) if data else None

    def answered(self, message: Answer, payload: bytes) -> None:
        """The answer to one of them; an answer that nobody waits for any more is dropped."""
        with self._lock:
            _, future = self._waiting.pop(message.request, (b"", None))
        if future is None:
            return
        if message.error:
            future.set_exception(NbdistError(message.error))
        else:
            future.set_result(payload or message.text.encode())

    def again(self) -> list[bytes]:
        """The frames of all that are not answered."""
        with self._lock:
            return [frame for frame, _ in self._waiting.values()]

    def fail(self, error: NbdistError) -> None:
        """There will be no answers any more."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for _, future in waiting.values():
            future.set_exception(error)
