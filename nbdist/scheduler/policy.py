"""The scheduler's numbers, all in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """How the scheduler behaves. Times are in seconds."""

    # liveness
    silence_seconds: float = 8.0
    """A worker that says nothing for so long is lost (it sends a heartbeat every two seconds)."""
    pulse_seconds: float = 2.0
    """While there are workers the scheduler is woken at least so often …"""
    freeze_seconds: float = 1.0
    """… and if that comes so much too late, it was the hub that stood still (stopped, swapped out, a lid closed): what
    the workers said meanwhile has yet to be read, and their silence counts from now."""

    settle_seconds: float = 2.0
    """After a restart, workers that were here have so long to come back before their work is given to others."""

    # slices
    slice_seconds: float = 0.5
    """No slice is meant to run longer, unless one item does."""
    min_slice_seconds: float = 0.004
    """No slice is cut shorter than this while there is work: its round trip costs about a millisecond."""
    wait_seconds: float = 0.5
    """A slice waits at a slot only if the one before it is expected to end within this time."""
    speed_half_life_seconds: float = 1.0
    """Execution time after which an older measurement of a worker's speed counts half."""
    slot_doubt_seconds: float = 1.0
    """A slot's speed against its machine's counts half once it has worked for so long."""
    slice_bytes: int = 700 * 1024
    """The blocks that a slice touches are not larger together: they must fit one frame."""
    slice_blob_bytes: int = 8 * 1024 * 1024
    """… and their blobs, which its worker gets before it begins, have so much, or are one block's."""
    blocks_per_slot: int = 3
    """So many of a job's large blocks may be at the hub for each slot: one runs, one waits, one is on its way …"""
    max_window_bytes: int = 1024**3
    """… as long as they are no more than this."""

    # balance
    trim_seconds: float = 0.01
    """A slice that is expected to end within this time is not trimmed: the answer would come too late."""
    copy_seconds: float = 0.1
    """An item is copied to a faster slot only after it has run for so long."""
    copy_speedup: float = 2.0
    """… and only if that slot is so many times faster: an item of unknown length has, on average, as long to go as it
    has run, so that a copy on a slot twice as fast ends at the same time as the original."""
    setup_patience_seconds: float = 5.0
    """The items of a slot that runs a setup are copied after so long, if others are idle that have theirs behind them:
    that stops the setup, which then runs again."""
    suspect_seconds: float = 5.0
    """A worker that is silent for so long has its running items copied, if slots are idle."""
    balance_retry_seconds: float = 0.1
    """How often idle slots look again for work to take over, if nothing else happens."""
    balance_seconds_per_attempt: float = 20e-6
    """… and how long they pause for each running attempt, which bounds the share of time that looking may cost."""

    # faults
    max_crashes: int = 3
    """Attempts of an item that ends its process."""
    losses_before_alone: int = 3
    """An item that was running in so many lost workers runs alone from then on …"""
    max_losses: int = 5
    """… and fails after so many."""

    # talking
    progress_seconds: float = 0.25
    grant_bytes: int = 1024 * 1024
    """The notebook hears of finished blocks of items once they have this size, or with the next progress."""
    acknowledge_seconds: float = 0.2
    acknowledge_parts: int = 64
    """So many parts are acknowledged at once at the latest."""
    stop_seconds: float = 3.0
    """A cancelled job is reported as ended after so long even if a worker has not confirmed that it stopped."""
    last_slice_seconds: float = 0.5
    """So long after the last machine was left out of a job, it is looked whether something of it still runs."""
    notice_seconds: float = 10.0
    """A job that no machine has begun after so long says why."""
    try_again_seconds: float = 5.0
    """A worker that could not run a job, and may later, is not asked again earlier."""
    max_rows: int = 64
    """Machines in one progress message."""
    history_events: int = 2_000
    """Events kept of each job …"""
    pool_events: int = 200
    """… and of the pool."""
    shown_failures: int = 100
    """Items that failed and are named, of each job."""
    drawn_jobs: int = 50
    """The newest so many ended jobs keep their timeline."""

    # bounds
    max_jobs: int = 1_000
    """Unfinished jobs of one hub; one more is refused."""
    kept_listings: int = 256
    """Lists of what is installed on machines, for those that come back or join with the same one."""
    kept_jobs: int = 200
    """Ended jobs that are remembered for `describe` and `explain`."""
    results_bytes: int = 4 * 10**9
    """A job with more bytes of results that wait for its notebook is paused …"""
    least_results_bytes: int = 64 * 1024 * 1024
    """… or with as many as are free beside them; but so many may always wait: a notebook has a window of them, and says
    only now and then what it has taken."""
    resume_share: float = 0.75
    """… and goes on once they are down to this share of what may wait."""
    orphan_seconds: float = 86_400.0
    """A job whose notebook has been away for so long is cancelled."""
