# `make demo` and `make test` need Python 3.11 or newer and nothing else; both make .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo-run

.PHONY: demo test validation lint bench help clean

help:  ## say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.user  ## run the whole pipeline on the sample data into demo-run/
	@$(BIN)/mdpipe demo --run $(DEMO)

test: $(VENV)/.dev  ## run the tests (not the minutes-long validation runs)
	@$(BIN)/python -m pytest -q -m "not validation"

validation: $(VENV)/.dev  ## run the long tests: ensembles and published physics
	@$(BIN)/python -m pytest -q -m validation

lint: $(VENV)/.dev  ## ruff, mypy --strict, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/.user  ## time the engine (beside OpenMM and GROMACS, where they are installed)
	@$(BIN)/mdpipe bench md --molecules 1000,8000 --threads 1 --vs openmm,gromacs --repeats 5

clean:  ## remove the environment and the demo's run folder
	@rm -rf $(VENV) $(DEMO)

$(BIN)/python:
	@echo "making the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.user: pyproject.toml | $(BIN)/python
	@echo "installing mdpipe (a minute or so)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "installing mdpipe with its test tools (a minute or so)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.user
