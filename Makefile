# Two commands for a newcomer: `make demo` and `make test`. Both build .venv from the pinned lock on first use.
PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.stamp

.PHONY: env demo test lint bench clean

env: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: $(STAMP)
	$(BIN)/reg2rg demo --out runs/demo

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 tests

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=plugins $(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/reg2rg bench --data phantom --ablate lfd --out runs/bench

clean:
	rm -rf .venv runs
