"""The claim: two ends of one memory, neither of which waits for the other."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdist.worker.claim import _CLAIMED, _LIMIT, AgentClaim, SlotClaim
from nbdist.worker.cutting import cut_at


@pytest.fixture
def ends(tmp_path: Path) -> tuple[AgentClaim, SlotClaim]:
    agent = AgentClaim(tmp_path / "claim")
    return agent, SlotClaim(tmp_path / "claim")


def test_a_claim_is_granted_up_to_the_limit(ends: tuple[AgentClaim, SlotClaim]) -> None:
    agent, slot = ends
    agent.begin((1, 1), 10, 20)
    assert slot.take(10, 4) == 14
    assert agent.where() == ((1, 1), 14, 20, 10, 0.0)
    assert slot.take(14, 100) == 20
    assert slot.take(20, 1) == 20


def test_a_cut_leaves_what_is_claimed(ends: tuple[AgentClaim, SlotClaim]) -> None:
    agent, slot = ends
    agent.begin((1, 1), 0, 100)
    slot.take(0, 10)
    assert agent.cut(1.0) == 10
    assert slot.take(10, 5) == 10


def test_the_position_is_seen_by_the_agent(ends: tuple[AgentClaim, SlotClaim]) -> None:
    agent, slot = ends
    agent.begin((1, 1), 5, 9)
    slot.position[0] = 7
    assert agent.where().item == 7


def test_the_beginning_of_an_item_is_seen_and_ends_with_its_slice(ends: tuple[AgentClaim, SlotClaim]) -> None:
    agent, slot = ends
    agent.begin((1, 1), 5, 9)
    slot.began[0] = 3_500_000_000
    assert agent.where().began == 3.5
    agent.begin((1, 2), 9, 12)
    assert agent.where().began == 0


def test_only_the_attempt_that_is_meant_is_cancelled(ends: tuple[AgentClaim, SlotClaim]) -> None:
    agent, slot = ends
    agent.begin((1, 2), 0, 100)
    agent.cancel((1, 1))
    assert not slot.is_cancelled
    agent.cancel((1, 2))
    assert slot.is_cancelled
    assert slot.take(0, 10) == 0
    agent.begin((1, 3), 0, 10)
    assert not slot.is_cancelled


def test_a_claim_that_crosses_a_cut_stands(ends: tuple[AgentClaim, SlotClaim], monkeypatch: pytest.MonkeyPatch) -> None:
    agent, slot = ends
    agent.begin((1, 1), 0, 100)

    def slot_claimed_before_it_saw_the_limit() -> None:
        agent._fields[_CLAIMED] = 30

    monkeypatch.setattr(agent, "_settle", slot_claimed_before_it_saw_the_limit)
    assert agent.cut(1.0) == 30
    assert slot.take(30, 10) == 30


def test_a_claim_that_sees_a_cut_goes_back_to_it(
    ends: tuple[AgentClaim, SlotClaim], monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, slot = ends
    agent.begin((1, 1), 0, 100)

    def agent_cut_before_it_saw_the_claim() -> None:
        slot._fields[_LIMIT] = 10

    monkeypatch.setattr(slot, "_settle", agent_cut_before_it_saw_the_claim)
    assert slot.take(0, 30) == 10
    assert agent.where().claimed == 10


def test_both_ends_agree_while_they_race(ends: tuple[AgentClaim, SlotClaim]) -> None:
    agent, slot = ends
    total = 20_000
    agent.begin((1, 1), 0, total)
    granted = [total]
    done = threading.Event()

    def cut() -> None:
        while not done.is_set():
            granted.append(agent.cut(0.001))

    cutter = threading.Thread(target=cut)
    cutter.start()
    at = 0
    while (stop := slot.take(at, 3)) > at:
        at = stop
    done.set()
    cutter.join()
    assert at <= granted[-1]
    assert granted == sorted(granted, reverse=True)


@given(st.integers(0, 100), st.integers(0, 100), st.floats(0.001, 1))
def test_a_cut_gives_at_least_one_item_and_never_a_claimed_one(claimed: int, free: int, give: float) -> None:
    stop = cut_at(claimed, claimed + free, give)
    assert claimed <= stop
    assert (stop < claimed + free) == (free > 0)
    assert claimed + free - stop <= max(1, free * give)
