"""A real kernel, as a front end drives it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jupyter_client.manager import KernelManager

LIMIT_SECONDS = 60.0
ROOT = Path(__file__).resolve().parents[2]


class Kernel:
    """A real kernel, as a front end drives it."""

    def __init__(self, folder: Path) -> None:
        self._manager = KernelManager(kernel_name="python3")
        self._manager.start_kernel(cwd=str(folder), env={**os.environ, "PYTHONPATH": str(ROOT)})
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(LIMIT_SECONDS)

    @property
    def pid(self) -> int:
        return int(self.value("__import__('os').getpid()"))

    def start(self, code: str) -> str:
        """Begins a cell; gives its request."""
        return str(self._client.execute(code))

    def finish(self, request: str) -> tuple[str, str]:
        """Waits for the end of a cell; gives its status (ok, or the error's name) and all its text."""
        text = []
        for message in self.messages(request):
            content = message["content"]
            text.append(content.get("text") or content.get("data", {}).get("text/plain", ""))
            text.extend(content.get("traceback", ()))
        return self._status(request), "\n".join(filter(None, text))

    def messages(self, request: str) -> Iterator[dict[str, Any]]:
        """What comes to the page because of a cell, until that is over; nothing comes meanwhile because of another."""
        while True:
            message = self._client.get_iopub_msg(timeout=LIMIT_SECONDS)
            if message["parent_header"].get("msg_id") != request:
                assert message["msg_type"] in ("status", "shutdown_reply"), message
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return
            yield message

    def run(self, code: str) -> tuple[str, str]:
        return self.finish(self.start(code))

    def value(self, expression: str) -> str:
        status, text = self.run(expression)
        assert status == "ok", text
        return text.strip()

    def interrupt(self) -> None:
        self._manager.interrupt_kernel()

    def close(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        self._manager.cleanup_resources()

    def _status(self, request: str) -> str:
        while True:
            message = self._client.get_shell_msg(timeout=LIMIT_SECONDS)
            if message["parent_header"].get("msg_id") == request:
                reply = message["content"]
                return "ok" if reply["status"] == "ok" else str(reply.get("ename", reply["status"]))
