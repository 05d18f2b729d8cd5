"""The Python API: pools, jobs, values. The same in a script and in a notebook, and on every engine."""
