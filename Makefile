# The commands of this project. They install what they need into .venv; `make test` also installs Debian packages.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev
# A file is run by one worker, and the longest files start first (tests/conftest.py).
PYTEST := $(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --root-user-action=ignore

# Tests start many processes: each would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: up check fast-tests test prove test-gpu test-engines lint bench bench-compare docs lock clean

up: $(RUNTIME)  ## run perwatt on this machine
	$(BIN)/perwatt up

check: $(DEV)  ## the inner loop: what `make lint` does, beside the fast tests
	@$(MAKE) --no-print-directory --jobs=2 lint fast-tests

fast-tests: $(DEV)
	$(PYTEST) -q -n 2 -m "not slow" --hypothesis-profile quick

# Three workers on two cores, because the longest tests wait for a minute's window to pass.
test: $(DEV)  ## all tests; installs the Debian packages that they need
	$(BIN)/python tests/system_packages.py
	$(PYTEST) -n 3

SCHEDULES ?= 200
prove: $(DEV)  ## valid figures against the truth over many random faults: make prove SCHEDULES=1000
	$(BIN)/python tests/oracle/prove.py $(SCHEDULES)
	$(BIN)/python tests/aggregator/history/killing.py 50

test-gpu: $(DEV)  ## the tests that need a real NVIDIA GPU
	$(BIN)/python -m pytest -m gpu -s tests/gpu

test-engines: $(DEV)  ## tests with a real llama-server and a real vLLM; installs both into .cache/engines
	$(BIN)/python -m pytest -m engines -s tests/engines

lint: $(DEV)  ## style, types, import rules; fails if a generated document is out of date
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check

docs: $(DEV)  ## write the generated documents
	$(BIN)/python docs/generate.py

bench: $(DEV)  ## measure perwatt and another exporter; writes benchmarks/RESULTS.md
	$(BIN)/python benchmarks/run.py

A ?= HEAD~1
B ?= HEAD
bench-compare: $(DEV)  ## compare two commits: make bench-compare A=COMMIT B=COMMIT
	$(BIN)/python benchmarks/compare.py $(A) $(B)

lock: $(DEV)  ## resolve pyproject.toml into the lock files
	$(PIP) uv
	$(BIN)/uv pip compile --quiet pyproject.toml --universal --python-version 3.10 --generate-hashes --no-header -o requirements.lock
	$(BIN)/uv pip compile --quiet pyproject.toml --extra dev --universal --python-version 3.10 --generate-hashes --no-header -c requirements.lock -o requirements-dev.lock

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): requirements.lock pyproject.toml | $(BIN)/python
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) --no-deps -e .
	@touch $@

$(DEV): requirements-dev.lock pyproject.toml | $(BIN)/python
	$(PIP) --require-hashes -r requirements-dev.lock
	$(PIP) --no-deps -e .
	@touch $@ $(RUNTIME)

clean:
	rm -rf $(VENV) .cache
