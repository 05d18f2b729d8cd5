"""Keeps this machine from going to sleep by itself while it works: `holding.py` decides, `keeper.py` does it."""
