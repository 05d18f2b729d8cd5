"""nbdist and its peers side by side: `python -m benchmarks [FIGURE...]`, `make bench`. Nothing here is a timed test."""
