# Everything one does with hubws; `make help` explains.
#
# PYTHON makes the environment VENV, once. An environment is installed into again when
# pyproject.toml, setup.py or a C file has changed. With CI=true nothing may be missing: not the
# native modules, not Chromium or a proxy, not one of the Python versions; and no test may be skipped.

PYTHON ?= python3
VENV ?= .venv
VERSIONS := 3.11 3.13

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check
SOURCES := pyproject.toml setup.py $(wildcard hubws/*/*.c)
CHECKED := $(filter true,$(CI))
export HUBWS_NATIVE ?= $(if $(CHECKED),require,auto)

PYTEST := $(BIN)/python -m pytest --numprocesses=auto --dist=loadfile $(if $(CHECKED),-p tests.no_skips)
SOCKET_TESTS := tests/connection tests/server tests/hub tests/client tests/proxy
ROOMS := hubws tests examples benchmarks compliance fuzzing setup.py

MAKEFLAGS += --no-print-directory
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help chat rtt test docs bench fmt lint types coverage compliance clean build programs pytest pytest-pure
.PHONY: $(VERSIONS:%=pytest-%)

help:  ## Print this
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

chat: $(VENV)/.installed  ## Start the chat server and print its URL; ARGS="--port 9000" goes to it
	@exec $(BIN)/python examples/broadcast/server.py $(ARGS)

rtt: $(VENV)/.installed  ## Start the server that measures round-trip times, likewise
	@exec $(BIN)/python examples/rtt/server.py $(ARGS)

test: programs lint types pytest pytest-pure $(VERSIONS:%=pytest-%) compliance  ## All checks and tests, on all Pythons

fmt: $(VENV)/.installed-test  ## Format the code and repair what ruff can repair
	$(BIN)/ruff format --quiet $(ROOMS)
	$(BIN)/ruff check --quiet --fix $(ROOMS)

lint: $(VENV)/.installed-test  ## Check style and format
	$(BIN)/ruff check --quiet $(ROOMS)
	$(BIN)/ruff format --check --quiet --diff $(ROOMS)

types: $(VENV)/.installed-test  ## Check the types, strictly
	$(BIN)/mypy

coverage: $(VENV)/.installed-test  ## Run all tests and list the lines and branches that none reaches
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

compliance: $(VENV)/.installed-test  ## Run the Autobahn test suite in both roles, where Python 2.7 is
	@if [ -n "$(CHECKED)$$PY27" ] || scripts/find-python 2.7 > /dev/null; then \
	  $(BIN)/python -m compliance server client --messages 20 $(ARGS); \
	else \
	  echo "== Python 2.7 was not found: the Autobahn test suite is left out"; \
	fi

docs: $(VENV)/.installed-test  ## Make the documentation's site in build/docs; warnings are errors
	@$(BIN)/sphinx-build -W --keep-going -q -j auto -c docs -d build/doctrees . build/docs \
	  || { rm -rf build/doctrees; exit 1; }
	@echo "build/docs/index.html"

bench: $(VENV)/.installed-bench  ## Measure hubws beside other servers (20 minutes; ARGS=--quick: 2)
	$(BIN)/python benchmarks/run.py $(ARGS)

build: $(VENV)/.installed-test  ## Make the sdist and the wheel in dist/
	$(BIN)/python -m build --no-isolation
	@ls -l dist

clean:  ## Remove what was built, measured and cached; environments stay, to be installed into again
	rm -rf build dist benchmarks/build compliance/build test-artefacts *.egg-info .coverage*
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache .venv*/.installed*
	find hubws tests examples benchmarks compliance fuzzing -name __pycache__ -prune -exec rm -rf {} +
	rm -f hubws/*/*.so

# -- what the tests are made of --------------------------------------------------------------------

pytest: $(VENV)/.installed-test
	@echo "== tests on $$($(BIN)/python --version)"
	$(PYTEST)

pytest-pure: $(VENV)/.installed-test
	@echo "== tests that go through sockets, on the pure-Python twins of the native modules"
	HUBWS_NATIVE=never $(PYTEST) $(SOCKET_TESTS)

$(VERSIONS:%=pytest-%): pytest-%: $(VENV)/.installed-test
	@if [ "$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')" = $* ]; then \
	  : "done already, as pytest"; \
	elif python=$$(scripts/find-python $*); then \
	  $(MAKE) pytest PYTHON="$$python" VENV=.venv-$*; \
	elif [ -n "$(CHECKED)" ]; then \
	  echo "Python $* was not found" >&2; exit 1; \
	else \
	  echo "== Python $* was not found: left out"; \
	fi

programs:
	@scripts/need chromium
	@scripts/need proxies
	@scripts/need nginx
	@scripts/need haproxy
	@scripts/need redis

# -- environments ----------------------------------------------------------------------------------

$(BIN)/python:
	@scripts/need venv "$(PYTHON)"
	@echo "== making the environment $(VENV)"
	@"$(PYTHON)" -m venv --clear $(VENV)

$(VENV)/.installed: $(SOURCES) | $(BIN)/python
	@scripts/need compiler $(BIN)/python
	@echo "== installing hubws into $(VENV)"
	@$(PIP) install --editable .
	@touch $@

$(VENV)/.installed-test: $(SOURCES) | $(BIN)/python
	@scripts/need compiler $(BIN)/python
	@echo "== installing hubws, and what its tests need, into $(VENV)"
	@$(PIP) install --editable '.[test,lint]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-bench: $(SOURCES) | $(BIN)/python
	@scripts/need compiler $(BIN)/python
	@echo "== installing hubws, and what its benchmarks need, into $(VENV)"
	@$(PIP) install --editable '.[bench]'
	@touch $(VENV)/.installed $@
