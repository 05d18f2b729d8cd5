"""Runs a range of items by the job's rules. No I/O, no operating system, no thread."""
