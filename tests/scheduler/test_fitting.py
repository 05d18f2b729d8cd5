"""Machines that have not what a job needs are left out, visibly, until they have it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nbdist.scheduler import fitting
from nbdist.scheduler.orders import Disconnect
from nbdist.scheduler.policy import Policy
from nbdist.wire import messages as m
from nbdist.wire.installed import MAX_PACKAGES, Installed

from .conftest import HOST

PANDAS = m.Package("pandas", "2.3.3", ("pandas",))
NUMPY = m.Package("numpy", "2.4.6", ("numpy",))


def installed(**versions: str) -> Installed:
    return Installed(tuple(sorted(versions.items())), tuple(sorted(versions)))


def join(hand: Any, name: str, here: Installed, **machine: Any) -> None:
    """A worker comes; it says what is installed if the hub does not know that."""
    told = replace(HOST, packages=here.digest, **machine)
    is_known = hand.scheduler.knows_packages(here.digest)
    hand.say(name, m.Hello("worker", 1, 1, told, name, name, 1))
    if not is_known:
        tell(hand, name, here)
    hand.say(name, m.WorkerFacts())


def tell(hand: Any, name: str, here: Installed) -> None:
    for message in here.messages():
        hand.say(name, message)


def prepared(hand: Any) -> dict[str, m.PrepareJob]:
    found = {s.peer: s.message for s in hand.said if isinstance(s.message, m.PrepareJob)}
    hand.take(m.PrepareJob)
    return found


def rows(hand: Any) -> dict[str, str]:
    state = hand.scheduler.state
    return {row.machine: row.text for row in fitting.table(state, state.jobs["job"])}


def test_the_table_and_the_line_under_the_cell(hand: Any) -> None:
    join(hand, "lab-1", installed(numpy="2.4.6", pandas="2.3.3"))
    join(hand, "lab-2", installed(numpy="2.3.1", pandas="2.3.2"))
    join(hand, "lab-3", installed(numpy="2.4.6"))
    join(hand, "lab-4", installed(numpy="1.26.4", pandas="2.3.3"))
    hand.job(packages=(PANDAS, NUMPY))
    assert set(prepared(hand)) == {"lab-1", "lab-2"}
    assert rows(hand) == {
        "lab-1": "fits",
        "lab-2": "fits: pandas 2.3.3 here, 2.3.2 there; numpy 2.4.6 here, 2.3.1 there",
        "lab-3": "left out: no pandas (pip install pandas==2.3.3)",
        "lab-4": "left out: numpy 2.4.6 here, 1.26.4 there (pip install numpy==2.4.6)",
    }
    notice = hand.one(m.Notice, "notebook")
    assert notice.level == "warning"
    assert notice.text == (
        "2 of 4 machines fit: lab-3: no pandas (pip install pandas==2.3.3); lab-4: numpy 2.4.6 here, 1.26.4 there "
        "(pip install numpy==2.4.6); taking part with other versions: lab-2: numpy 2.4.6 here, 2.3.1 there"
    )
    described = {worker["name"]: worker["fit"] for worker in hand.scheduler.describe(hand.now)["workers"]}
    assert described == rows(hand)


def test_nothing_is_said_if_all_fit(hand: Any) -> None:
    join(hand, "same", installed(numpy="2.4.6"))
    join(hand, "patched", installed(numpy="2.4.1"))
    hand.worker("silent")  # it says nothing of what it has: it is asked
    hand.job(packages=(NUMPY,))
    assert set(prepared(hand)) == {"same", "patched", "silent"}
    assert not hand.take(m.Notice)


def test_another_version_alone_is_told_without_alarm(hand: Any) -> None:
    join(hand, "other", installed(numpy="2.3.0"))
    hand.job(packages=(NUMPY,))
    notice = hand.one(m.Notice)
    assert (notice.level, notice.text) == (
        "info",
        "taking part with other versions: other: numpy 2.4.6 here, 2.3.0 there",
    )


@pytest.mark.parametrize(
    ("needs", "fitting"),
    [("", {"minor", "patch"}), ("versions=any", {"major", "minor", "patch"}), ("versions=same", set())],
)
def test_needs_say_which_versions_will_do(hand: Any, needs: str, fitting: set[str]) -> None:
    for name, version in (("major", "1.26.4"), ("minor", "2.3.0"), ("patch", "2.4.5")):
        join(hand, name, installed(numpy=version))
    hand.job(packages=(NUMPY,), needs=needs)
    assert set(prepared(hand)) == fitting


def test_machines_that_the_needs_did_not_choose_are_not_missed(hand: Any) -> None:
    join(hand, "mine", installed(numpy="2.4.6"))
    join(hand, "yours", installed())
    hand.job(packages=(NUMPY,), needs="worker=mine")
    assert not hand.take(m.Notice)


def test_a_job_that_nobody_can_run_says_so_once(hand: Any) -> None:
    join(hand, "lab-3", installed())
    hand.job(packages=(PANDAS,))
    hand.wait(0.5)
    text = hand.one(m.Notice).text
    assert "no machine can run it. lab-3: no pandas (pip install pandas==2.3.3)" in text


def test_a_machine_of_which_something_was_installed_takes_part(hand: Any) -> None:
    join(hand, "w", installed(numpy="2.4.6"))
    hand.job(packages=(PANDAS,))
    hand.wait(0.5)
    hand.take(m.Notice)
    assert not prepared(hand)
    tell(hand, "w", installed(numpy="2.4.6", pandas="1.5.3"))
    hand.wait(0.5)
    assert "pandas 2.3.3 here, 1.5.3 there" in hand.one(m.Notice).text
    tell(hand, "w", installed(numpy="2.4.6", pandas="2.3.3"))
    assert set(prepared(hand)) == {"w"}
    hand.ready("w")
    hand.finish("w")
    assert hand.one(m.JobFinished).outcome == "done"


def test_what_the_machine_itself_missed_is_asked_for_again(hand: Any) -> None:
    join(hand, "w", installed())
    hand.job()
    hand.take(m.PrepareJob)
    hand.say("w", m.JobRefused("job", "no module named 'x'"))
    tell(hand, "w", installed(x="1"))
    assert set(prepared(hand)) == {"w"}


def test_a_list_is_told_once_whoever_has_it_and_again_to_a_new_hub(hand: Any, make_hand: Any) -> None:
    here = installed(numpy="1.26.4")
    assert not hand.scheduler.knows_packages(here.digest)
    join(hand, "a", here)
    assert hand.scheduler.knows_packages(here.digest)
    join(hand, "b", here)
    join(hand, "a", here)  # it comes back
    hand.job(packages=(NUMPY,))
    assert not prepared(hand)
    assert not make_hand().scheduler.knows_packages(here.digest)


def test_only_so_many_lists_are_kept(make_hand: Any) -> None:
    hand = make_hand(Policy(kept_listings=3))
    for number in range(10):
        join(hand, f"w{number}", installed(numpy=f"2.{number}"))
    state = hand.scheduler.state
    assert len(state.listings) == 3
    assert not hand.scheduler.knows_packages(installed(numpy="2.0").digest)
    assert state.workers["w0"].listing.versions == {"numpy": "2.0"}  # of one that is here it is still known


def test_a_machine_that_installs_is_told_what_and_the_row_says_so(hand: Any) -> None:
    join(hand, "w", installed(numpy="1.26.4"), installs=True)
    join(hand, "all", installed(numpy="2.4.6", pandas="2.3.3"), installs=True)
    hand.job(packages=(NUMPY, PANDAS))
    orders = prepared(hand)
    assert orders["w"].install == (NUMPY, PANDAS)
    assert orders["all"].install == ()
    assert rows(hand) == {"all": "fits", "w": "fits: installing numpy 2.4.6, pandas 2.3.3"}
    hand.wait(0.5)
    shown = {row.name: (row.state, row.reason) for row in hand.one(m.JobProgress).workers}
    assert shown == {"w": ("preparing", "installing numpy 2.4.6, pandas 2.3.3"), "all": ("preparing", "")}
    for _ in range(2):
        hand.wait(5)
        for name in ("w", "all"):
            hand.say(name, m.Heartbeat())
    assert "w: installing numpy 2.4.6, pandas 2.3.3" in hand.one(m.Notice).text
    hand.ready("w")
    assert hand.scheduler.state.jobs["job"].shares["w"].reason == ""


def test_a_job_for_each_machine_is_for_those_that_have_what_it_needs(hand: Any) -> None:
    join(hand, "a", installed(numpy="2.4.6"))
    join(hand, "b", installed())
    hand.job(total=None, each="machine", packages=(NUMPY,))
    assert {worker for worker, _ in hand.scheduler.state.jobs["job"].targets} == {"a"}
    assert hand.one(m.Notice).text == "1 of 2 machines fit: b: no numpy (pip install numpy==2.4.6)"


@pytest.mark.parametrize(
    "wrong",
    [
        [m.InstalledPackages("0" * 64, (("numpy", "1"),))],
        [m.InstalledPackages("0" * 64, more=True)],
        [m.InstalledPackages("0" * 64, (("", "1"),), more=True)],
        [m.InstalledPackages("0" * 64, (), ("a\nb",), more=True)],
        [m.InstalledPackages("0" * 64, (("numpy", "1"),) * 1000, more=True)] * (MAX_PACKAGES // 1000 + 1),
    ],
    ids=["another hash", "endless", "no name", "two lines", "too many"],
)
def test_a_list_that_makes_no_sense_costs_the_connection(hand: Any, wrong: list[m.Message]) -> None:
    join(hand, "w", installed())
    for message in wrong:
        hand.say("w", message)
    assert hand.one(Disconnect, "w").code == "protocol"
    assert not hand.scheduler.state.workers
