"""Decides what runs where: messages and the time in, messages out.

Pure and synchronous. No module of this room reads a clock, opens a socket or a file, starts a thread, logs or draws a
random number, so that whatever happened can be recorded and replayed, and ten thousand workers fit in a unit test.
"""
