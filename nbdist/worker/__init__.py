"""One machine's part of a pool: the agent, its supervisor, and the slots that run user code."""
