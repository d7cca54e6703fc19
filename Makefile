# The whole developer interface. Everything is set up by itself: `make run` and `make test` work on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Some environments forbid .pyc files; without them every start recompiles everything.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run test check bench clean system

run: $(VENV)/.run
	$(BIN)/openclaw gateway run --allow-unconfigured

# Most of it waits for processes: two at a time. What measures time or kills everything has the machine for itself.
test: $(VENV)/.dev system
	-@$(BIN)/python -m tests.support.docker_engine cache
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/unit tests/integration tests/fuzz
	$(BIN)/python -m pytest tests/contract tests/chaos

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/unit/test_imports.py

bench: $(VENV)/.dev
	$(BIN)/python -m tests.bench

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ $(VENV)/.run

# The real servers, the Docker daemon and the browser that the tests talk to. Only root can install; anybody else is told what is missing.
system:
	@sh tests/support/system_packages.sh

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
