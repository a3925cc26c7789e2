# `make demo` and `make test` do all their own set-up; nothing but Python >= 3.11 has to be on the machine.
# The first interpreter that really runs and is new enough: a version manager's shim may exist and still refuse.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test check format docs bench chaos requirements clean

setup: $(STAMP)

$(STAMP): requirements-dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Waybill needs Python 3.11 or later: install it, or set PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: setup
	@$(BIN)/waybill demo

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

test: check ## in one process more than there are cores, for half of it is waiting
	$(BIN)/python -m pytest -n auto

chaos: setup ## the long version: 5,000 jobs in each end-to-end and fault test, hundreds of faults, 20,000 seeds
	WAYBILL_CHAOS=long WAYBILL_CHAOS_JOBS=5000 WAYBILL_SIMULATION_SEEDS=20000 $(BIN)/python -m pytest tests/simulation tests/mutation tests/e2e tests/chaos

bench: setup ## the pipeline next to its bare floor, in one run
	$(BIN)/python -m benchmarks.pipeline

docs: setup ## what is generated into docs/
	$(BIN)/python -m schemas.documents
	$(BIN)/python -m services.cli.docs_events
	$(BIN)/python -m services.cli.docs_detectors

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

requirements: ## pins anew; `uv` comes from PyPI
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --extra standalone pyproject.toml -o requirements.txt -q
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --extra standalone --extra export --group dev pyproject.toml -o requirements-dev.txt -c requirements.txt -q

clean:
	rm -rf $(VENV) .waybill
