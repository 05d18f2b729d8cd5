"""What findings mean: values in, lines out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nbdist.doctor.findings import Computer, Folder, Invite, Line, Network, Pool, Reached, Software
from nbdist.doctor.judging import judge_hub, span
from nbdist.doctor.judging_here import judge_computer, judge_pool

HERE = Software("/usr/bin/python3", "3.11.7", "cpython", "0.1.0", (1, 1))
INVITE = Invite("worker", True, 3 * 3600.0, "0.1.0", (1, 1), ("cpython 3.11",))
NEAR = Network("near", ("192.168.1.7/24",), "192.168.1.1", gateway_is_there=True)
GOOD = Reached("192.168.1.20", 8786, True, NEAR, ("192.168.1.20",), invite=INVITE, clock_ahead_seconds=0.2)


def failed(lines: list[Line]) -> list[str]:
    return [line.name for line in lines if line.state == "FAIL"]


def only(lines: list[Line], name: str) -> Line:
    found = [line for line in lines if line.name == name]
    assert len(found) == 1, lines
    return found[0]


def missed(trouble: Any, network: Network, **more: Any) -> Line:
    """The one line about an address that did not answer."""
    lines = judge_hub([replace(GOOD, trouble=trouble, network=network, invite=None, **more)], HERE)
    assert len(lines) == 1
    assert lines[0].state == "FAIL"
    assert lines[0].todo
    return lines[0]


def test_all_is_well() -> None:
    lines = judge_hub([GOOD], HERE)
    assert [line.name for line in lines] == ["port", "certificate", "hub", "credential", "version", "python", "clock"]
    assert all(line.state == "ok" and not line.todo for line in lines)


@pytest.mark.parametrize(
    ("trouble", "network", "text", "todo"),
    [
        ("refused", Network("loopback"), "this machine answers, and nothing listens at port 8786", "start the hub"),
        ("refused", NEAR, "the computer at 192.168.1.20 answers, and nothing listens", "%distribute invite"),
        ("timeout", replace(NEAR, host="there"), "is there (it answers on this network)", "ufw allow 8786/tcp"),
        ("timeout", replace(NEAR, host="was"), "was on this network a short while ago", "awake and online"),
        ("timeout", NEAR, "though the router 192.168.1.1 of the same network can be heard", "another Wi-Fi"),
        ("unreachable", replace(NEAR, gateway_is_there=False, others=3), "though 3 other computers", "another Wi-Fi"),
        ("unreachable", replace(NEAR, gateway_is_there=False), "this machine's own connection is down", "connect this"),
        ("timeout", Network("far", ("10.0.0.3/24",)), "in none of this machine's networks (10.0.0.3/24)", "same Wi-Fi"),
        ("unreachable", Network("far"), "this machine is in no network at all", "connect this machine"),
        ("timeout", Network("unknown"), "nothing comes back", "firewall"),
    ],
)
def test_why_a_port_does_not_answer(trouble: Any, network: Network, text: str, todo: str) -> None:
    line = missed(trouble, network)
    assert (line.name, text in line.text, todo in line.todo) == ("port", True, True), line


def test_a_name_that_nobody_has() -> None:
    assert missed("name", Network(), host="lab", error="Name or service not known").name == "name"


@pytest.mark.parametrize("trouble", ["stranger", "no TLS", "broken"])
def test_a_certificate_that_is_not_the_hubs(trouble: Any) -> None:
    lines = judge_hub([replace(GOOD, trouble=trouble, error="why", invite=None)], HERE)
    assert failed(lines) == ["certificate"]
    assert "why" in only(lines, "certificate").text
    assert only(lines, "certificate").todo


@pytest.mark.parametrize(("trouble", "tls"), [("no hub", True), ("no hub", False), ("broken", False)])
def test_something_that_is_no_hub(trouble: Any, tls: bool) -> None:
    assert failed(judge_hub([replace(GOOD, trouble=trouble, tls=tls, invite=None)], HERE)) == ["hub"]


def test_one_address_of_two_is_enough() -> None:
    dead = replace(GOOD, trouble="timeout", host="172.17.0.1", resolved=("172.17.0.1",), invite=None)
    lines = judge_hub([dead, GOOD], HERE)
    assert not failed(lines)
    assert lines[0].state == "warn"
    assert "another address of the hub works" in lines[0].text
    assert not lines[0].todo


def test_an_address_of_loopback_among_others_is_no_trouble() -> None:
    lines = judge_hub([GOOD, replace(GOOD, host="127.0.0.1", network=Network("loopback"), trouble="refused")], HERE)
    assert all(line.state == "ok" for line in lines)


def test_what_the_hub_says_of_the_credential_is_told_in_one_line() -> None:
    lines = judge_hub([replace(GOOD, trouble="access", error="it has\nexpired\x1b[2J" + "x" * 999, invite=None)], HERE)
    assert failed(lines) == ["credential"]
    text = only(lines, "credential").text
    assert text.startswith("it has expired [2J")
    assert len(text) <= 300


def test_a_hub_by_another_name_and_one_that_cannot_be_asked() -> None:
    lines = judge_hub([replace(GOOD, trouble="host", error="this hub does not answer to 'x'", invite=None)], HERE)
    assert failed(lines) == ["hub"]
    lines = judge_hub([replace(GOOD, trouble="old", invite=None)], HERE)
    assert not failed(lines)
    assert only(lines, "version").state == "warn"


def invited(**changes: Any) -> list[Line]:
    return judge_hub([replace(GOOD, invite=replace(INVITE, **changes))], HERE)


def test_another_role() -> None:
    assert "a notebook's" in only(invited(role="notebook"), "credential").text
    assert failed(invited(role="viewer")) == ["credential"]


def test_how_long_an_invite_is_good() -> None:
    assert only(invited(valid_seconds=90.0), "credential").state == "warn"
    assert only(invited(valid_seconds=0.0), "credential").text == "the invite is good, without an end"
    assert "one worker's own" in only(invited(is_invite=False), "credential").text


def test_another_version_names_the_line_that_helps() -> None:
    line = only(invited(nbdist="0.2.0"), "version")
    assert (line.state, line.todo) == ("FAIL", "/usr/bin/python3 -m pip install nbdist==0.2.0")
    found = judge_hub([replace(GOOD, invite=replace(INVITE, nbdist="0.2.0"))], replace(HERE, is_one_file=True))
    assert "fetch worker.pyz" in only(found, "version").todo
    assert "protocols 2-3 and 1-1" in only(invited(protocol=(2, 3)), "version").text


def test_another_python() -> None:
    line = only(invited(pythons=("cpython 3.13",)), "python")
    assert (line.state, line.todo) == (
        "warn",
        "for all of their jobs, start the worker with cpython 3.13 (python3.13 …)",
    )
    assert only(invited(pythons=("cpython 3.11", "cpython 3.13")), "python").state == "ok"
    assert "no notebook is connected" in only(invited(pythons=()), "python").text


@pytest.mark.parametrize(
    ("ahead", "valid", "state", "text"),
    [(30.0, 60.0, "ok", "agrees"), (-7300.0, 0.0, "ok", "2 h behind"), (7300.0, 900.0, "warn", "2 h ahead")],
)
def test_the_clock_matters_to_invites_only(ahead: float, valid: float, state: str, text: str) -> None:
    found = replace(GOOD, clock_ahead_seconds=ahead, invite=replace(INVITE, valid_seconds=valid))
    line = only(judge_hub([found], HERE), "clock")
    assert (line.state, text in line.text) == (state, True), line


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.4, "3 s"), (119.0, "119 s"), (600.0, "10 min"), (9000.0, "2 h"), (86400.0 * 7, "7 days")]
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


# --- this machine -----------------------------------------------------------------------------------------------------

GB = 1024**3
FINE = Computer(
    HERE,
    cores=4,
    memory_bytes=16 * GB,
    memory_free_bytes=8 * GB,
    files=1024,
    temporary=Folder("/tmp", 20 * GB),
    shared=Folder("/dev/shm", 8 * GB),
    slot_seconds=0.3,
    keeps_awake="systemd-inhibit",
)


def test_a_machine_on_which_all_is_well() -> None:
    assert all(line.state == "ok" for line in judge_computer(FINE))
    assert all(line.state == "ok" for line in judge_computer(replace(FINE, shared=None, files=0, memory_bytes=0)))


@pytest.mark.parametrize(
    ("changes", "name", "state", "text"),
    [
        ({"slot_error": "exit code 1. No space"}, "slot", "FAIL", "exit code 1"),
        ({"software": replace(HERE, python="3.9.1")}, "machine", "FAIL", "too old"),
        ({"temporary": Folder("/tmp", 0, "read-only")}, "temporary folder", "FAIL", "read-only"),
        ({"temporary": Folder("/tmp", 1000)}, "temporary folder", "FAIL", "too little"),
        ({"temporary": Folder("/tmp", GB // 2)}, "temporary folder", "warn", "512 MB"),
        ({"shared": Folder("/dev/shm", 64 * 1024**2)}, "shared memory", "warn", "--shm-size"),
        ({"shared": Folder("/dev/shm", 0, "denied")}, "shared memory", "warn", "denied"),
        ({"memory_free_bytes": 300 * 1024**2}, "memory", "warn", "little for each"),
        ({"files": 64}, "open files", "warn", "64 files"),
        ({"keeps_awake": ""}, "sleep", "warn", "nothing can keep"),
    ],
)
def test_what_a_machine_lacks(changes: dict[str, Any], name: str, state: str, text: str) -> None:
    line = only(judge_computer(replace(FINE, **changes)), name)
    assert (line.state, text in line.text) == (state, True), line


def test_with_little_memory_fewer_slots_are_proposed() -> None:
    assert "--slots 3" in only(judge_computer(replace(FINE, memory_free_bytes=300 * 1024**2)), "memory").todo


# --- the embedded pool ------------------------------------------------------------------------------------------------

POOL = Pool("/run/x", True, hub_lives=True, worker_lives=True, has_ready_file=True, has_journal=True, free_bytes=GB)


@pytest.mark.parametrize(
    ("changes", "name", "state", "text"),
    [
        ({}, "pool", "ok", "hub and worker run"),
        ({"exists": False}, "pool", "ok", "no pool here yet"),
        ({"hub_lives": False, "has_ready_file": False}, "pool", "ok", "the next notebook starts one"),
        ({"hub_lives": False}, "pool", "ok", "the hub was killed"),
        ({"has_ready_file": False, "log": "bang"}, "pool", "FAIL", "its log ends with: bang"),
        ({"ready_error": "nonsense"}, "pool", "FAIL", "nonsense"),
        ({"worker_lives": False}, "pool", "warn", "without its worker"),
        ({"is_private": False}, "state", "FAIL", "others"),
        ({"journal_error": "malformed"}, "journal", "FAIL", "malformed"),
        ({"free_bytes": 1000}, "disk", "FAIL", "jobs wait"),
    ],
)
def test_the_own_pool(changes: dict[str, Any], name: str, state: str, text: str) -> None:
    line = only(judge_pool(replace(POOL, **changes)), name)
    assert (line.state, text in line.text) == (state, True), line
    assert bool(line.todo) == (state != "ok")
