"""Under which addresses other machines may reach this one. Found without sending a packet."""

from __future__ import annotations

import contextlib
import importlib
import ipaddress
import socket
import struct
import sys
from collections.abc import Iterable

_ROUTES = ("192.168.255.254", "10.255.255.254", "172.31.255.254", "203.0.113.1")
"""Destinations of the private networks and of the Internet: connecting a UDP socket to one chooses a route, no more."""
_VIRTUAL = ipaddress.ip_network("172.16.0.0/12")
"""Containers and virtual machines mostly live here: such an address is tried last."""

_GET_ADDRESS = {"linux": 0x8915, "darwin": 0xC0206921}
"""SIOCGIFADDR where it is known. Windows finds all addresses by the machine's name."""


def lan_addresses(*, by_name: bool = True) -> list[str]:
    """IPv4 addresses of this machine that others can dial, the best first. May take a while where names are slow."""
    return order([*_by_route(), *_by_interface(), *(_by_name() if by_name else [])])


def order(found: Iterable[str]) -> list[str]:
    """Those that others can dial, each once: private ones first, then public, container networks, link-local. Pure."""
    unique = []
    for text in dict.fromkeys(found):
        with contextlib.suppress(ValueError):
            address = ipaddress.ip_address(text)
            if address.version == 4 and not (address.is_loopback or address.is_unspecified or address.is_multicast):
                unique.append(address)
    return [str(address) for address in sorted(unique, key=_rank)]  # stable: routes before names


def _rank(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> int:
    if address.is_link_local:
        return 3
    if address in _VIRTUAL:
        return 2
    return 0 if address.is_private else 1


def _by_route() -> list[str]:
    found = []
    for target in _ROUTES:
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((target, 9))
            found.append(str(probe.getsockname()[0]))
    return found


def _by_interface() -> list[str]:
    """The address of each interface: on a LAN without a router there is no route to find it by."""
    request = _GET_ADDRESS.get(sys.platform)
    if request is None:
        return []
    ioctl = importlib.import_module("fcntl").ioctl
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # one that has no IPv4 address
                answer = ioctl(probe.fileno(), request, struct.pack("256s", name.encode()[:15]))
                found.append(socket.inet_ntoa(answer[20:24]))
    return found


def _by_name() -> list[str]:
    with contextlib.suppress(OSError):
        return [str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    return []
