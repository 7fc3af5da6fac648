# On a bare machine this needs python3 (>= 3.11) with venv, git and make; everything else is installed below .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEVENV := $(BIN)/python -m lifecycle.runtimes.devenv $(VENV)

.PHONY: help demo dev test lint soak bench lock clean

help:
	@echo "make demo   see the whole life of a voice on a real recording"
	@echo "make test   set up and pass the whole suite"
	@echo "make dev    .venv with vlm, the engine, torch and the tools"

demo: $(VENV)/.run
	@$(BIN)/vlm demo

dev: $(VENV)/.dev

test: dev lint
	$(BIN)/pytest -n auto --dist worksteal
	$(BIN)/pytest -n auto --dist worksteal --database postgresql

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

soak: dev
	$(BIN)/pytest -m soak

# A folder without pip in it is what an interrupted `venv` leaves.
$(BIN)/pip:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "vlm needs Python 3.11 or newer; call: make PYTHON=python3.11 ...")'
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)

# pip is used once, to bring uv; uv installs everything else, with pip's settings handed on.
$(BIN)/uv: $(BIN)/pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.8"

$(VENV)/.run: $(BIN)/uv requirements/run.lock pyproject.toml
	$(DEVENV) --lock requirements/run.lock
	touch $@

$(VENV)/.dev: $(BIN)/uv requirements/dev.lock pyproject.toml
	$(DEVENV) --lock requirements/dev.lock --torch
	touch $(VENV)/.run $@

lock:
	$(BIN)/uv pip compile -q pyproject.toml --universal --generate-hashes --no-header --no-annotate \
		--python-version 3.11 -o requirements/run.lock
	$(BIN)/uv pip compile -q pyproject.toml --group dev --universal --generate-hashes --no-header --no-annotate \
		--python-version 3.11 -o requirements/dev.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
