# `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
SOURCES := pyproject.toml $(shell find ogacli -type f -not -name '*.pyc')

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow lint types docs check bench clean

help:  ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/core  ## Install oga into .venv and run `oga demo`
	$(BIN)/oga demo --overwrite

test: $(VENV)/test  ## Install oga with its test extras into .venv and run the tests
	$(BIN)/pytest

test-slow: $(VENV)/test  ## The tests marked slow, too
	$(BIN)/pytest -m "not gpu and not browser"

lint: $(VENV)/dev  ## ruff: format and rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/dev  ## mypy --strict
	$(BIN)/mypy

docs: $(VENV)/docs  ## Build the pages of docs/ into build/site; a warning fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

check: lint types test docs  ## All of lint, types, test, docs

bench: $(VENV)/bench  ## What benchmarks/ measures; minutes
	$(BIN)/python benchmarks/forest.py
	$(BIN)/python benchmarks/head.py
	$(BIN)/python benchmarks/gradients.py

clean:  ## Remove .venv and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist

$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/core: $(BIN)/pip $(SOURCES)
	$(PIP) .
	@touch $@

$(VENV)/test $(VENV)/dev $(VENV)/docs $(VENV)/bench: $(VENV)/%: $(BIN)/pip $(SOURCES)
	$(PIP) '.[$*]'
	@touch $@
