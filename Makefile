# `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
LOWEST ?= tests/base tests/config tests/run tests/cli
SOURCES := pyproject.toml $(shell find ogacli -type f -not -name '*.pyc')

# The tensors of tests are small: several threads wait for each other, many times longer on a busy machine.
test test-slow test-browser test-lowest: export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-browser test-lowest lint types docs check check-lowest check-wheel fuzz audit
.PHONY: bench clean

help:  ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/core  ## Install oga into .venv and run `oga demo`
	$(BIN)/oga demo --overwrite

test: $(VENV)/test  ## Install oga with its test extras into .venv and run the tests
	$(BIN)/pytest

test-slow: $(VENV)/test  ## The tests marked slow, too
	$(BIN)/pytest -m "not gpu and not browser"

test-browser: $(VENV)/test  ## The tests in Chromium (apt-get install chromium)
	$(BIN)/pytest -m browser

lint: $(VENV)/dev  ## ruff: format and rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/dev  ## mypy --strict
	$(BIN)/mypy

docs: $(VENV)/docs  ## Build the pages of docs/ into build/site; a warning fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

check: lint types test docs  ## All of lint, types, test, docs

check-lowest:  ## The tests with the lowest version of each dependency; needs 10 GB, as that torch brings CUDA
	$(PYTHON) -m venv --clear .venv-lowest
	.venv-lowest/bin/pip install --quiet --disable-pip-version-check uv
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct '.[test]'
	.venv-lowest/bin/python -m pytest $(TESTS)
	rm -rf .venv-lowest

test-lowest: $(VENV)/test  ## Some tests with the lowest version of each dependency but torch; changes .venv
	$(PIP) uv
	$(BIN)/pip freeze | sed -n 's/+.*//; /^torch\(vision\)\?==/p' > $(VENV)/torch.txt
	$(BIN)/uv pip compile --quiet --resolution lowest-direct --extra test --constraint $(VENV)/torch.txt \
	  pyproject.toml --output-file $(VENV)/lowest.txt
	rm $(VENV)/test
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r $(VENV)/lowest.txt
	$(BIN)/pytest $(LOWEST)

check-wheel:  ## Build wheel and sdist, install each into an empty environment, and run `oga demo`
	rm -rf dist && $(PYTHON) -m venv --clear .venv-wheel
	.venv-wheel/bin/pip install --quiet --disable-pip-version-check build
	.venv-wheel/bin/python -m build --outdir dist
	for file in dist/*.whl dist/*.tar.gz; do \
	  $(PYTHON) -m venv --clear .venv-wheel && \
	  .venv-wheel/bin/pip install --quiet --disable-pip-version-check $$file && \
	  (cd /tmp && $(CURDIR)/.venv-wheel/bin/oga demo --output $$(mktemp -d)/run) || exit 1; \
	done
	rm -rf .venv-wheel

fuzz: $(VENV)/test  ## Mutate what reads files of others, a minute for each target
	$(BIN)/python tests/fuzzing.py --seconds 60 --keep build/fuzz

audit: $(VENV)/core  ## Known vulnerabilities of the installed dependencies
	$(PIP) pip-audit
	$(BIN)/pip-audit --skip-editable

bench: $(VENV)/bench  ## What benchmarks/ measures; minutes
	$(BIN)/python benchmarks/forest.py
	$(BIN)/python benchmarks/head.py
	$(BIN)/python benchmarks/gradients.py

.PHONY: gpu-check
gpu-check: $(VENV)/test  ## Check and time everything on a CUDA device; five minutes
	$(BIN)/python benchmarks/gpu.py

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
