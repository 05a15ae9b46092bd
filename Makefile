# make demo: from nothing to reports.  make ui: look at them.  make test: everything that CI runs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO ?= .demo
STAMP := $(VENV)/.installed
FIND := $(if $(PIP_FIND_LINKS),--find-links "$(PIP_FIND_LINKS)",)

.PHONY: demo ui test quick lint clean
demo: $(STAMP)
	$(BIN)/its demo --dir $(DEMO)

ui: $(STAMP)
	$(BIN)/its ui --dir $(DEMO)

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder

quick: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadscope

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

$(VENV)/bin/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9

$(STAMP): $(VENV)/bin/uv pyproject.toml constraints.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode $(FIND) -c constraints.txt -e .
	touch $@

$(VENV)/.installed-%: $(STAMP)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode $(FIND) -c constraints.txt -e ".[$*]"
	touch $@

clean:
	rm -rf $(DEMO) .pytest_cache .ruff_cache .mypy_cache .hypothesis
