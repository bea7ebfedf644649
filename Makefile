# The verbs of this project. Everything they need is installed into .venv, or said to be missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --root-user-action=ignore

.PHONY: up test test-gpu test-engines lint bench bench-compare docs lock clean

up: $(RUNTIME)  ## run perwatt on this machine
	$(BIN)/perwatt up

test: $(DEV)  ## every test; installs what the tests need, Debian's packages included
	$(BIN)/python tests/system_packages.py
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-gpu: $(DEV)  ## the tests that need a real NVIDIA GPU
	$(BIN)/python -m pytest -m gpu -s tests/gpu

test-engines: $(DEV)  ## perwatt beside a real llama-server and a real vLLM, which are installed into .cache/engines
	$(BIN)/python -m pytest -m engines -s tests/engines

lint: $(DEV)  ## style, types, import rules, and generated documents that are fresh
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check

docs: $(DEV)  ## write the generated documents anew
	$(BIN)/python docs/generate.py

bench: $(DEV)  ## measure, beside what one would install instead; writes benchmarks/RESULTS.md
	$(BIN)/python benchmarks/run.py

A ?= HEAD~1
B ?= HEAD
bench-compare: $(DEV)  ## hold two commits against each other: make bench-compare A=COMMIT B=COMMIT
	$(BIN)/python benchmarks/compare.py $(A) $(B)

lock: $(DEV)  ## resolve the lock files anew from pyproject.toml
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
