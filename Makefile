# Two commands: `make demo` and `make test`. Both set up .venv when pyproject.toml or constraints.txt changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.trainworthy-installed
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt
DEMO_GPU ?= h100-sxm-80gb
DEMO_SCRIPT ?= examples/transformer_lm.py

.PHONY: help setup demo test format clean
.DEFAULT_GOAL := help

help:
	@echo 'make demo    rehearse $(DEMO_SCRIPT) on a virtual $(DEMO_GPU); writes demo-report.html'
	@echo 'make test    lint, types, layers and tests'
	@echo 'make format  let ruff rewrite what it can'
	@echo 'make clean   remove caches and the demo report; .venv stays'

setup: $(STAMP)

# torch first, alone and pinned: what comes later must find it and leave it as it is.
# Some of the pinned tools have no release for Python 3.10, on which the package itself runs.
$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("make needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.11 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) torch==2.13.0
	@$(PIP) --editable '.[dev,torch]'
	@touch $@

demo: $(STAMP)
	@$(BIN)/trainworthy rehearse --gpu $(DEMO_GPU) --html demo-report.html $(DEMO_SCRIPT)
	@echo 'The same as a page, with charts: demo-report.html'

test: $(STAMP)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo --no-cache > $(VENV)/layers.log || { cat $(VENV)/layers.log; exit 1; }
	@$(BIN)/python -m compileall -q src # rehearsals write no bytecode: without it, each would compile the package
	@$(BIN)/python -m pytest -q --numprocesses auto --dist worksteal

format: $(STAMP)
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

clean:
	@rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist demo-report.html
