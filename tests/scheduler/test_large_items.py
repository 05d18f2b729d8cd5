"""Blocks whose items lie in blobs: how they are cut, fetched, widened for and given up."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdist.scheduler.blocks import MAX_SLICE_BLOBS, Blocks
from nbdist.scheduler.orders import STORES, DropItems, PeerClosed
from nbdist.scheduler.policy import Policy
from nbdist.wire import messages as m
from nbdist.wire.blocks import ITEMS_WINDOW_BYTES

MB = 1_000_000


def ref(number: int, size: int = MB) -> m.BlobRef:
    return m.BlobRef(f"{number:064x}", size)


def add(hand, start, *refs, count=1, size=300):
    hand.say("notebook", m.AddItems("job", start, count, refs), size)


@pytest.fixture
def busy(hand):
    """One worker with one slot, and a job whose items come."""
    hand.worker()
    hand.job(total=None)
    hand.ready()
    return hand


@given(st.lists(st.tuples(st.integers(1, 4), st.lists(st.integers(0, 9), max_size=3)), min_size=1), st.data())
def test_the_blobs_of_a_slice_are_those_of_the_blocks_that_it_touches(rows, data):
    blocks, owners = Blocks(), []
    for count, numbers in rows:
        refs = tuple(ref(number) for number in numbers)
        blocks.add(len(owners), len(owners) + count, 10, refs)
        owners += [refs] * count
    start = data.draw(st.integers(0, len(owners) - 1))
    stop = data.draw(st.integers(start + 1, len(owners)))
    found = blocks.blobs(start, stop)
    assert set(found) == {one for refs in owners[start:stop] for one in refs}
    assert len(found) == len(set(found))
    assert blocks.has_blobs(start) == bool(owners[start])
    reach = blocks.reach(start, stop, 25, 3 * MB)
    assert start < reach <= stop
    over_first = [refs for refs in owners[start:reach] if refs is not owners[start]]
    if over_first:
        assert sum(one.size for refs in {id(r): r for r in owners[start:reach]}.values() for one in refs) <= 3 * MB


def test_a_slice_names_no_more_blobs_than_a_message_holds():
    blocks = Blocks()
    for number in range(10):
        blocks.add(number, number + 1, 10, tuple(ref(50 * number + n, 1) for n in range(50)))
    assert blocks.reach(0, 10, 10_000, 10_000) == MAX_SLICE_BLOBS // 50


def test_a_slice_has_few_bytes_to_fetch_or_one_block(make_hand):
    hand = make_hand(Policy(slice_blob_bytes=3 * MB))
    hand.notebook()
    hand.worker()
    hand.job(total=None)
    hand.ready()
    sizes = [1, 1, 1, 1, 50, 1, 1, 2, 2, 1]
    for number, size in enumerate(sizes):
        add(hand, number, ref(number, size * MB))
    runs = []
    while some := hand.take(m.RunSlice):
        for run in some:
            runs.append(run)
            hand.say("w", m.SliceBegun(run.attempt))
            hand.part("w", run, seconds=1e-6)
    assert [run.blobs for run in runs] == [tuple(ref(n, sizes[n] * MB) for n in range(r.start, r.stop)) for r in runs]
    assert max(sum(one.size for one in run.blobs) for run in runs if len(run.blobs) > 1) <= 3 * MB
    assert any(len(run.blobs) > 1 for run in runs)
    assert {(drop.start, drop.stop) for drop in hand.take(DropItems, STORES)} == {(n, n + 1) for n in range(10)}


def test_task_size_wins_over_the_bytes(make_hand):
    hand = make_hand(Policy(slice_blob_bytes=3 * MB))
    hand.notebook()
    hand.worker()
    hand.job(total=None, options={"task_size": 4})
    hand.say("notebook", m.AddItems("job", 0, 1, (ref(0),)), 300)
    for number in range(1, 8):
        add(hand, number, ref(number))
    hand.ready()
    run = hand.take(m.RunSlice)[0]
    assert (run.start, run.stop, len(run.blobs)) == (0, 4, 4)


def test_the_next_large_item_comes_while_one_runs_however_long_that_takes(busy):
    for number in range(4):
        add(busy, number, ref(number))
    first, second = busy.take(m.RunSlice)
    assert (first.start, second.start) == (0, 1)
    busy.say("w", m.SliceBegun(first.attempt))
    busy.wait(5.0)
    busy.part("w", first, seconds=5.0)
    (third,) = busy.take(m.RunSlice)
    assert third.start == 2
    busy.say("w", m.SliceBegun(second.attempt))
    busy.part("w", second, seconds=5.0)
    assert not busy.take(m.RunSlice)  # the last one is left to whoever is idle first


def test_the_window_is_as_wide_as_the_slots_need(busy):
    add(busy, 0, ref(0, 5 * MB))
    assert busy.one(m.GrantItems) == m.GrantItems("job", 0, 3 * 5 * MB - ITEMS_WINDOW_BYTES)
    busy.worker("w2", slots=3)
    busy.ready("w2")
    assert busy.one(m.GrantItems) == m.GrantItems("job", 0, 3 * 3 * 5 * MB)
    add(busy, 1, ref(1, 900 * MB))
    assert busy.one(m.GrantItems).wider_bytes == Policy().max_window_bytes - 3 * 4 * 5 * MB
    add(busy, 2, ref(2, 2_000 * MB))
    assert not busy.take(m.GrantItems)


def test_a_notebook_that_is_away_hears_of_the_window_later(hand):
    hand.worker()
    hand.job(total=None)
    add(hand, 0, ref(0, 10 * MB))
    hand.say("notebook", PeerClosed("asleep"))
    hand.ready()
    assert not hand.take(m.GrantItems)
    hand.notebook()
    hand.wait(0.3)
    hand.finish()
    hand.wait(0.3)
    granted = hand.take(m.GrantItems)
    assert sum(grant.wider_bytes for grant in granted) == 30 * MB - ITEMS_WINDOW_BYTES
    assert sum(grant.more_bytes for grant in granted) == 10 * MB


def test_an_item_on_its_way_is_not_copied_until_it_has_begun(hand):
    hand.worker("slow")
    hand.job(total=None, options={"task_size": 1})
    for number in range(3):
        add(hand, number, ref(number))
    hand.ready("slow")
    first, second = hand.take(m.RunSlice, "slow")
    hand.say("slow", m.SliceBegun(first.attempt))
    hand.now += 1.0
    hand.part("slow", first, seconds=1.0)
    hand.say("slow", m.SliceBegun(second.attempt))
    hand.worker("fast")
    hand.ready("fast")
    (run,) = hand.take(m.RunSlice, "fast")
    hand.say("fast", m.SliceBegun(run.attempt))
    hand.part("fast", run, seconds=0.01)
    hand.now += 1.0
    hand.part("slow", second, seconds=1.0)
    hand.take(m.RunSlice)
    # both are known, and all is done: one more item, which only the slow one may take at first
    hand.say("fast", PeerClosed("away for a moment"))
    add(hand, 3, ref(3))
    (last,) = hand.take(m.RunSlice, "slow")
    hand.worker("fast")
    hand.ready("fast")
    hand.scheduler.state.jobs["job"].shares["fast"].speed = 100.0
    hand.scheduler.state.jobs["job"].total_speed += 100.0
    hand.scheduler.state.jobs["job"].known_slots += 1
    hand.say("slow", m.Heartbeat())
    hand.wait(2.0)
    hand.say("slow", m.Heartbeat())
    hand.say("fast", m.Heartbeat())
    assert not hand.take(m.RunSlice, "fast")
    hand.say("slow", m.SliceBegun(last.attempt))
    hand.wait(2.0)
    copy = hand.one(m.RunSlice, "fast")
    assert (copy.start, copy.blobs) == (3, (ref(3),))


def test_a_machine_that_vanishes_while_it_fetches_is_not_held_against_the_item(busy):
    add(busy, 0, ref(0))
    for _ in range(6):  # more often than an item may be running in lost machines
        assert busy.one(m.RunSlice).start == 0
        busy.say("w", PeerClosed("gone"))
        busy.worker()
        busy.ready()
    assert not busy.take(m.Result, STORES)
    busy.finish()
    assert busy.one(m.Result, STORES).fault is None


def test_an_item_whose_data_is_gone_fails_in_the_end_and_says_so(busy):
    add(busy, 0, ref(0))
    for _ in range(3):
        run = busy.one(m.RunSlice)
        busy.say("w", m.SlotCrashed(run.attempt, 0, "the hub has it no more", kind="unfetched"))
    fault = busy.one(m.Result, STORES).fault
    assert (fault.kind, fault.reason, fault.attempts) == ("unfetched", "the hub has it no more", 3)


def test_a_machine_without_room_is_left_out_and_its_items_go_elsewhere(busy):
    add(busy, 0, ref(0))
    run = busy.one(m.RunSlice)
    busy.say("w", m.JobRefused("job", "no room", "make some"))
    busy.say("w", m.SliceEnded(run.attempt, "no room"))
    assert not busy.take(m.RunSlice)
    assert "queued" in busy.scheduler.explain("job", 0, busy.now)
    busy.worker("w2")
    busy.ready("w2")
    assert busy.one(m.RunSlice, "w2").blobs == (ref(0),)


def test_explain_says_that_data_is_on_its_way(busy):
    add(busy, 0, ref(0))
    run = busy.one(m.RunSlice)
    assert "its data is on its way to w, slot 0" in busy.scheduler.explain("job", 0, busy.now)
    busy.say("w", m.SliceBegun(run.attempt))
    assert "with w, slot 0" in busy.scheduler.explain("job", 0, busy.now)


def test_small_and_large_blocks_mix_in_a_slice(busy):
    add(busy, 0, count=5)
    add(busy, 5, ref(5))
    add(busy, 6, count=5)
    runs = []
    while some := busy.take(m.RunSlice):
        for run in some:
            runs.append(run)
            busy.part("w", run, seconds=1e-6)
    assert all(a.stop == b.start for a, b in pairwise(runs))
    assert [run.blobs for run in runs if run.start <= 5 < run.stop] == [(ref(5),)]
    assert all(not run.blobs for run in runs if not run.start <= 5 < run.stop)
