"""The fork server: one thread, everything that a slot needs loaded, and a fork for each slot.

Requests come as one message each, with the slot's socket; the answers are {"pid"} and, when it has ended, {"pid",
"code"}. When the agent's end is closed the server ends, and the slots die with it.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
import traceback
from types import FrameType

from nbdist.worker import child, system
from nbdist.worker.setup import REQUEST_BYTES, SlotSetup


def serve(control: socket.socket) -> None:
    """Until the agent is gone."""
    woken, wakes = socket.socketpair()
    woken.setblocking(False)
    wakes.setblocking(False)
    signal.set_wakeup_fd(wakes.fileno())
    signal.signal(signal.SIGCHLD, _wake_up)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()  # collections in the children do not write to, and so do not copy, what they share
    while True:
        ready, _, _ = select.select([control, woken], [], [])
        if woken in ready:
            woken.recv(4096)
            _report_ends(control)
        if control in ready:
            try:
                request, descriptors, _, _ = socket.recv_fds(control, REQUEST_BYTES, 1)
                if not request:
                    return
                _fork(control, SlotSetup(**json.loads(request)), descriptors[0], (woken, wakes))
            except ConnectionError:
                return  # the agent has ended meanwhile


def _wake_up(number: int, frame: FrameType | None) -> None:
    """The wake-up descriptor does what is needed; without a handler there is none."""


def _report_ends(control: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        control.send(json.dumps({"pid": pid, "code": os.waitstatus_to_exitcode(status)}).encode())


def _fork(control: socket.socket, setup: SlotSetup, descriptor: int, own: tuple[socket.socket, socket.socket]) -> None:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        os.close(descriptor)
        control.send(json.dumps({"pid": pid}).encode())
        return
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for sock in (control, *own):
            sock.close()
        os.setsid()
        system.settle_in(parent, setup.niceness)
        child.run_slot(socket.socket(fileno=descriptor), setup)
        code = 0
    except BaseException:  # noqa: BLE001 - a forked child must never return into the server's loop
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
