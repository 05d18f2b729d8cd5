"""`nbdist doctor`: says step by step why a machine cannot join, and leaves nothing behind.

`reaching.py`, `networks.py`, `machine.py` and `pool.py` look; what they have found are the values of `findings.py`;
`judging.py` and its siblings, which are pure, say what that means and what to do next.
"""
