"""What this machine sees of the network around it, without privileges: its own networks, and who has told its hardware
address.

Linux tells all of that to everybody. Elsewhere the program `arp` lists the neighbours, and the networks are guessed
from the machine's own addresses.
"""

from __future__ import annotations

import contextlib
import importlib
import ipaddress
import math
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from nbdist.doctor.findings import Network, Presence, Where

_GET_ADDRESS, _GET_MASK = 0x8915, 0x891B
"""SIOCGIFADDR and SIOCGIFNETMASK of Linux."""
_GUESSED_PREFIX = 24
ARP_SECONDS = 5.0
KNOCK_SECONDS = 1.0
"""A router tells its hardware address within this time."""
PRESENCE_SECONDS = 5.0
"""Linux asks a neighbour again that was not heard of for half a minute, first after five seconds without an answer."""
RECENT_SECONDS = 600.0
"""A router that was heard of so lately is there: everything else goes through it."""
POLL_SECONDS = 0.05
_DISCARD_PORT = 9
_NEIGHBOUR = re.compile(
    r"(?<![\d.])(\d{1,3}(?:\.\d{1,3}){3})(?![\d.]).*?\b([0-9a-f]{1,2}(?:[:-][0-9a-f]{1,2}){5})\b", re.IGNORECASE
)
_NO_HARDWARE = ({0}, {255})
_MESSAGE = struct.Struct("=IHHII")
"""nlmsghdr: length, type, flags, sequence, port."""
_NEIGHBOUR_ROW = struct.Struct("=BxxxiHBB")
"""ndmsg: family, interface, state, flags, type."""
_RTM_NEWNEIGH, _RTM_GETNEIGH, _NLM_REQUEST_DUMP, _NLMSG_ERROR, _NLMSG_DONE = 28, 30, 0x301, 2, 3
_NDA_DST, _NDA_CACHEINFO = 1, 3
_KNOWN = 0x02 | 0x04 | 0x08 | 0x10 | 0x80
"""Reachable, stale, delay, probe, permanent."""
_TICKS = 100.0
"""A second, in what the kernel tells programs."""
_PIECE_BYTES, _MAX_DUMP_BYTES = 64 * 1024, 4 * 1024**2


def look(resolved: Sequence[str], missed_since: float | None = None) -> Network:
    """What is known of a host with these addresses. `missed_since`: it was asked then (`time.monotonic`) and has not
    answered, so it matters who else would."""
    own = own_networks()
    where = place(resolved, own)
    shown = tuple(own)
    if missed_since is None or where != "near":
        return Network(where, shown)
    host = _presence(resolved, missed_since)
    gateway = _gateway()
    there = _knock(gateway) if gateway else _neighbours()
    others = {address for address in there if place([address], own) == "near"} - {gateway, *resolved}
    return Network(where, shown, gateway, there.get(gateway, math.inf) < RECENT_SECONDS, host, len(others))


def place(resolved: Iterable[str], own: Sequence[str]) -> Where:
    """Where addresses lie for a machine with these networks (`192.168.1.7/24`)."""
    networks = [ipaddress.ip_interface(text) for text in own]
    found = []
    for text in resolved:
        with contextlib.suppress(ValueError):
            found.append(ipaddress.ip_address(text.partition("%")[0]))
    if not found:
        return "unknown"
    if all(address.is_loopback for address in found):
        return "loopback"
    if any(address == network.ip for address in found for network in networks):
        return "own"
    known = [address for address in found if address.version == 4]
    if any(address in network.network for address in known for network in networks):
        return "near"
    return "far" if len(known) == len(found) else "unknown"


def _presence(resolved: Sequence[str], since: float) -> Presence:
    """Whether the host is there. What is known of before `since` is asked about again by the system, within seconds."""
    deadline = time.monotonic() + PRESENCE_SECONDS
    while True:
        known = _neighbours()
        ages = [known[address] for address in resolved if address in known]
        if not ages:
            return "absent"
        if min(ages) <= time.monotonic() - since:
            return "there"
        if min(ages) == math.inf or time.monotonic() > deadline:
            return "was"
        time.sleep(POLL_SECONDS)


def neighbours(table: str) -> set[str]:
    """The addresses in a table of neighbours, as Linux, macOS or Windows writes it, that have a hardware address."""
    found = set()
    for address, hardware in _NEIGHBOUR.findall(table):
        if {int(part, 16) for part in re.split("[:-]", hardware)} not in _NO_HARDWARE:
            found.add(address)
    return found


def own_networks() -> list[str]:
    """IPv4 networks of this machine with its address in each, loopback left out."""
    found = _by_interface() if sys.platform == "linux" else _by_name()
    return [text for text in dict.fromkeys(found) if not ipaddress.ip_interface(text).ip.is_loopback]


def _by_interface() -> list[str]:
    ioctl = importlib.import_module("fcntl").ioctl
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            with contextlib.suppress(OSError):  # one that has no IPv4 address
                address, mask = (
                    socket.inet_ntoa(ioctl(probe.fileno(), what, request)[20:24]) for what in (_GET_ADDRESS, _GET_MASK)
                )
                found.append(str(ipaddress.ip_interface(f"{address}/{mask}")))
    return found


def _by_name() -> list[str]:
    with contextlib.suppress(OSError):
        rows = socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
        return [f"{row[4][0]}/{_GUESSED_PREFIX}" for row in rows]
    return []


def _gateway() -> str:
    """The router's address; empty if the system does not say."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for row in Path("/proc/net/route").read_text("ascii").splitlines()[1:]:
            words = row.split()
            if words[1] == "00000000" and words[2] != "00000000":
                return socket.inet_ntoa(struct.pack("<I", int(words[2], 16)))
    return ""


def _knock(address: str) -> dict[str, float]:
    """Makes the system ask for a computer's hardware address; the neighbours that are known then."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.sendto(b"", (address, _DISCARD_PORT))
    deadline = time.monotonic() + KNOCK_SECONDS
    while True:
        there = _neighbours()
        if there.get(address, math.inf) < RECENT_SECONDS or time.monotonic() > deadline:
            return there
        time.sleep(POLL_SECONDS)


def _neighbours() -> dict[str, float]:
    """Computers that have told their hardware address, and how many seconds ago (infinity: it is not known when)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return kernel_neighbours(_dump())
    return dict.fromkeys(neighbours(_neighbour_table()), math.inf)


def kernel_neighbours(dump: bytes) -> dict[str, float]:
    """The same out of Linux's answer to RTM_GETNEIGH (rtnetlink, man 7): a row of messages with attributes."""
    found = {}
    for kind, row in _messages(dump):
        if kind != _RTM_NEWNEIGH or len(row) < _NEIGHBOUR_ROW.size:
            continue
        state = _NEIGHBOUR_ROW.unpack_from(row)[2]
        attributes = dict(_attributes(row[_NEIGHBOUR_ROW.size :]))
        address, times = attributes.get(_NDA_DST, b""), attributes.get(_NDA_CACHEINFO, b"")
        if state & _KNOWN and len(address) == 4 and len(times) >= 4:
            found[socket.inet_ntoa(address)] = struct.unpack_from("=I", times)[0] / _TICKS
    return found


def _messages(dump: bytes) -> Iterator[tuple[int, bytes]]:
    while len(dump) >= _MESSAGE.size:
        size, kind, _, _, _ = _MESSAGE.unpack_from(dump)
        yield kind, dump[_MESSAGE.size : size]
        dump = dump[(size + 3 & ~3) or len(dump) :]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        size, kind = struct.unpack_from("=HH", data)
        yield kind, data[4:size]
        data = data[(size + 3 & ~3) or len(data) :]


def _dump() -> bytes:
    """Asks Linux for its neighbours. Raises OSError."""
    if sys.platform != "linux":
        raise OSError("Linux only")
    request = _MESSAGE.pack(_MESSAGE.size + _NEIGHBOUR_ROW.size, _RTM_GETNEIGH, _NLM_REQUEST_DUMP, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as kernel:
        kernel.settimeout(ARP_SECONDS)
        kernel.send(request + _NEIGHBOUR_ROW.pack(socket.AF_INET, 0, 0, 0, 0))
        dump = b""
        while len(dump) < _MAX_DUMP_BYTES:
            piece = kernel.recv(_PIECE_BYTES)
            dump += piece
            if not piece or any(kind in (_NLMSG_DONE, _NLMSG_ERROR) for kind, _ in _messages(piece)):
                break
    return dump


def _neighbour_table() -> str:
    try:
        if sys.platform == "linux":
            return Path("/proc/net/arp").read_text("ascii")
        done = subprocess.run(["arp", "-a"], capture_output=True, timeout=ARP_SECONDS, check=False)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace")
