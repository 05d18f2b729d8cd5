"""The hub: thin I/O round the scheduler. It routes, keeps and counts bytes; it never reads or runs what a user sent."""
