# Everything works from a fresh clone with Python 3.11 or later and make; `make PYTHON=python3.12 …` takes another one.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH_READY := $(VENV)/.bench-ready

FUZZ_READY := $(VENV)/.fuzz-ready
MINUTES ?= 4
SECONDS ?= 120

.PHONY: demo test pythons check format lab bench load soak fuzz clean

demo: $(READY)  ## run notebooks/pi.ipynb on every core, with live progress; leaves it and its plot in build/demo
	$(BIN)/python notebooks/demo.py build/demo

test: pythons  ## all tests
	$(BIN)/python -m pytest

pythons: $(READY)  ## .venv-3.12 and so on, with NumPy and pandas, for the tests that have several versions of Python
	$(BIN)/python tests/support/furnish.py

check: $(READY)  ## style, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lab: $(READY)  ## JupyterLab with the example notebooks
	$(BIN)/jupyter lab --notebook-dir=notebooks

bench: $(BENCH_READY)  ## nbdist and its peers, side by side
	$(BIN)/python -m benchmarks

load: $(READY)  ## a thousand workers on one hub
	$(BIN)/python -m benchmarks.load

soak: $(READY)  ## jobs of all kinds and kills for MINUTES; does anything grow?
	$(BIN)/python -m benchmarks.soak --minutes $(MINUTES)

fuzz: $(FUZZ_READY)  ## everything that reads bytes of others, for SECONDS
	$(BIN)/python tests/fuzz/run.py --seconds $(SECONDS)

clean:
	rm -rf $(VENV) .venv-3.* build dist artefacts .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "nbdist needs Python 3.11 or later; this is `$(PYTHON) -V`: make PYTHON=python3.12 …"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[lab,test]'
	$(BIN)/python -m compileall -q nbdist  # also where PYTHONDONTWRITEBYTECODE is set: starting a pool takes half as long
	touch $@

$(BENCH_READY): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	touch $@

$(FUZZ_READY): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]' \
	  || echo "atheris cannot be installed here: hypothesis makes the bytes"
	touch $@
