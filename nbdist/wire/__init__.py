"""What travels between notebook, hub, worker and slot: messages, frames, blocks of items, names of blobs, addresses.

This room imports nothing of nbdist but its error tree, and nothing from outside but the standard library.
"""
