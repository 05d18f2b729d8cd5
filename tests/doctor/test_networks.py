"""Where a host lies, and who is on the cable: from what the systems write."""

from __future__ import annotations

import socket
import struct
import sys

import pytest

from nbdist.doctor import networks
from nbdist.doctor.networks import kernel_neighbours, neighbours, place

OWN = ["192.168.1.7/24", "10.0.0.3/8"]


@pytest.mark.parametrize(
    ("resolved", "where"),
    [
        (["127.0.0.1"], "loopback"),
        (["::1", "127.0.0.1"], "loopback"),
        (["192.168.1.7"], "own"),
        (["192.168.1.9"], "near"),
        (["10.200.3.4"], "near"),
        (["192.168.2.9"], "far"),
        (["fe80::1%eth0"], "unknown"),
        (["2001:db8::1", "192.168.2.9"], "unknown"),
        (["no address"], "unknown"),
        ([], "unknown"),
    ],
)
def test_where_a_host_lies(resolved: list[str], where: str) -> None:
    assert place(resolved, OWN) == where


LINUX = """\
IP address       HW type     Flags       HW address            Mask     Device
192.168.1.1      0x1         0x2         02:fc:00:00:00:05     *        eth0
192.168.1.20     0x1         0x0         00:00:00:00:00:00     *        eth0
"""
MACOS = """\
? (192.168.1.1) at 2:fc:0:0:0:5 on en0 ifscope [ethernet]
? (192.168.1.20) at (incomplete) on en0 ifscope [ethernet]
? (192.168.1.255) at ff:ff:ff:ff:ff:ff on en0 ifscope [ethernet]
"""
WINDOWS = """\
Interface: 192.168.1.7 --- 0x5
  Internet Address      Physical Address      Type
  192.168.1.1           02-fc-00-00-00-05     dynamic
  192.168.1.255         ff-ff-ff-ff-ff-ff     static
"""


@pytest.mark.parametrize("table", [LINUX, MACOS, WINDOWS])
def test_only_those_with_a_hardware_address_are_there(table: str) -> None:
    assert neighbours(table) == {"192.168.1.1"}


def row(address: str, state: int, confirmed: int) -> bytes:
    """A message of rtnetlink about one neighbour."""
    attributes = struct.pack("=HH4s", 8, 1, socket.inet_aton(address))
    attributes += struct.pack("=HHIIII", 20, 3, confirmed, 0, 0, 0)
    body = struct.pack("=BxxxiHBB", 2, 1, state, 0, 0) + attributes
    return struct.pack("=IHHII", 16 + len(body), 28, 2, 1, 0) + body


def test_what_linux_knows_of_its_neighbours() -> None:
    done = struct.pack("=IHHIII", 20, 3, 2, 1, 0, 0)
    dump = row("192.168.1.1", 2, 150) + row("192.168.1.2", 32, 10) + row("192.168.1.3", 1, 10) + row("1.2.3.4", 8, 900)
    assert kernel_neighbours(dump + done) == {"192.168.1.1": 1.5, "1.2.3.4": 9.0}
    for cut in range(len(dump)):
        kernel_neighbours(dump[:cut])  # what is cut short breaks nothing


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere networks are guessed")
def test_linux_answers() -> None:
    assert all("/" in network for network in networks.own_networks())
    assert isinstance(kernel_neighbours(networks._dump()), dict)
