"""Data to matplotlib figures. Only `matplotlib.figure.Figure` is used, never pyplot: no global state, no window."""
