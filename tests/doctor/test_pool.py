"""What the doctor knows of the hub's files, which it cannot import everywhere."""

from nbdist.doctor import pool
from nbdist.hub import journal


def test_the_journal_has_the_name_that_the_hub_gives_it() -> None:
    assert pool.JOURNAL_FILE == journal.FILE
