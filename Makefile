# Two commands: `make demo` and `make test`. Each makes .venv, installs what it needs when that is stale, and runs.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CONSTRAINTS ?= constraints.txt
PYTEST_ARGS ?= -n 2

.PHONY: demo experiments networks test test-long test-longest durations test-lowest lint format bench calibrate faults docs docs-test notebooks wheel-test clean

demo: $(VENV)/installed-demo
	$(BIN)/sgdynamics demo

# Every experiment in reduced form, in about three quarters of an hour; fails where a verdict is not the expected one.
experiments: $(VENV)/installed-demo
	$(BIN)/sgdynamics run '*'

# The networks that experiments continue from, each at its minimum: a few minutes, once (~/.cache/sgdynamics/networks).
networks: $(VENV)/installed-demo
	$(BIN)/python -c "from sgdynamics.experiments._pretrained import main; main()"

test: lint
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# The tests that take some two and a half seconds or more each. Continuous integration runs them too.
test-long: $(VENV)/installed-test
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m 'long and not longest'

# Those of eight seconds or more, such as every verdict of an experiment in small: before a release.
test-longest: $(VENV)/installed-test
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m longest

# Lists those that have become long, with their seconds, in tests/long.txt.
durations: $(VENV)/installed-test
	PYTHONPATH=tests $(BIN)/python -m pytest $(PYTEST_ARGS) -p processor_seconds

lint: $(VENV)/installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/installed-test
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# Speed against peers and a loop in C, scaling, memory, compilation: results/bench.
bench: $(VENV)/installed-bench
	$(BIN)/sgdynamics bench

# Whether errors cover, biases are small, false alarms rare and wrong models rejected: results/calibration.
calibrate: $(VENV)/installed-demo
	$(BIN)/python -m sgdynamics_calibration

# Runs killed at random moments fifty times, full disks, other numbers of devices: is anything lost? results/faults.
faults: $(VENV)/installed-demo
	$(BIN)/python -m sgdynamics_faults

# The documentation's pages, into site/: needs no network, and no warning is let pass.
docs: $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir site

# Executes every notebook with the sizes that it is kept with, in place, and notes in it which code made its outputs.
notebooks: $(VENV)/installed-docs
	$(BIN)/python tests/docs/execute_notebooks.py notebooks/*.ipynb

# Runs every block of Python on the documentation's pages and in the README, and every notebook with small sizes.
docs-test: $(VENV)/installed-docs
	$(BIN)/python -m pytest $(PYTEST_ARGS) tests/docs

# The oldest versions that pyproject.toml allows, in an environment of their own: the tests of `make test`
# (make test-lowest PYTEST_ARGS="-n 2 -m ''" for all).
test-lowest:
	$(MAKE) .venv-lowest/installed-test VENV=.venv-lowest CONSTRAINTS=constraints-lowest.txt
	.venv-lowest/bin/python -m pytest $(PYTEST_ARGS)

# The wheel in an empty environment, with nothing but what it says it needs: the command line, and a small run.
wheel-test:
	rm -rf build/wheel
	$(PYTHON) -m venv build/wheel/env
	build/wheel/env/bin/python -m pip wheel --quiet --no-deps --wheel-dir build/wheel .
	build/wheel/env/bin/python -m pip install --quiet --constraint $(CONSTRAINTS) build/wheel/*.whl
	cd build/wheel && env/bin/sgdynamics --version && env/bin/sgdynamics list && env/bin/python ../../tests/installed_example.py

clean:
	rm -rf .venv .venv-lowest .pytest_cache .ruff_cache dist build site

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than Python 3.11: name another, as in 'make $(MAKECMDGOALS) PYTHON=python3.12'" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed-demo: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[data,plot]'
	touch $@

$(VENV)/installed-bench: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[bench]'
	touch $@ $(VENV)/installed-demo

$(VENV)/installed-test: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[test]'
	touch $@ $(VENV)/installed-demo

$(VENV)/installed-docs: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[docs,test]'
	touch $@ $(VENV)/installed-test $(VENV)/installed-demo
