# Two commands for a newcomer: `make demo` and `make test`. Both build .venv from the pinned lock on first use.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STAMP := .venv/.stamp
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: env demo test lint imports bench clean

env: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@echo "Building .venv from requirements.lock (2.5 GB, some minutes) …"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "Python 3.11 is needed: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv
	$(PIP) -r requirements.lock
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)
	$(BIN)/reg2rg demo --out runs/demo

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 tests

lint: $(STAMP) imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

imports: $(STAMP)
	PYTHONPATH=plugins $(BIN)/lint-imports --no-cache --no-logo

bench: $(STAMP)
	$(BIN)/reg2rg bench --data phantom --ablate lfd,rra,geometry,global,texture --jobs 2 --out runs/bench

clean:
	rm -rf .venv runs
