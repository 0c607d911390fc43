# Two commands do everything: `make demo` and `make test`. Both set up what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet
ARGS ?=
# Some machines set it. Without compiled files, each of some hundred processes compiles the house.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint accept players soak doctor clean help

help:
	@echo "make demo     everything on this machine: a film, a CDN, a playing page"
	@echo "make test     checks, unit tests, stories, browser (set-up included)"
	@echo "make accept   the long tables and matrices; writes docs/acceptance.md"
	@echo "make players  every player through every failure, in real time; half an hour"
	@echo "make soak     half an hour of churn: nothing grows; writes docs/soak.md"
	@echo "make clean    removes the virtual environment and fetched players"

demo: $(VENV)/runtime web/vendor/stamp
	@$(BIN)/nearcast demo $(ARGS)

# Three workers for two cores: stories wait half of their time.
test: lint
	@$(BIN)/python -m pytest -n 3 $(ARGS)

lint: $(VENV)/test web/vendor/stamp
	@$(BIN)/ruff format --check --quiet . || { echo "Run: $(BIN)/ruff format ."; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache >/dev/null || $(BIN)/lint-imports --no-cache

accept: $(VENV)/test web/vendor/stamp
	@$(BIN)/python -m tests.accept $(ARGS)

players: $(VENV)/test web/vendor/stamp
	@NEARCAST_PLAYERS=all $(BIN)/python -m pytest tests/players/test_failover.py -v $(ARGS)

soak: $(VENV)/test
	@$(BIN)/python -m tests.soak $(ARGS)

doctor: $(VENV)/runtime
	@$(BIN)/nearcast doctor

$(VENV)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Nearcast needs Python 3.11 or newer; name yours: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "Python has no venv module; on Debian: sudo apt-get install python3-venv" >&2; rm -rf $(VENV); exit 1; }
	@touch $@

$(VENV)/runtime: $(VENV)/python requirements/runtime.txt pyproject.toml
	@echo "Installing what Nearcast needs into $(VENV) …"
	@$(PIP) --require-hashes -r requirements/runtime.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/test: $(VENV)/runtime requirements/test.txt
	@echo "Installing what the tests need …"
	@$(PIP) --require-hashes -r requirements/test.txt
	@touch $@

web/vendor/stamp: $(VENV)/runtime web/package-lock.json web/vendor.py
	@$(BIN)/python web/vendor.py
	@touch $@

clean:
	rm -rf $(VENV) web/vendor build *.egg-info
