SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help venv lab up check lint unit unit-slipway unit-others collect test record bench down

BIN := .venv/bin
# pytest keeps its rewritten test modules as bytecode, which halves the time until its first test.
export PYTHONDONTWRITEBYTECODE :=
# Of another Python than the one in .venv.
unexport PYTHONHOME PYTHONPATH

# Two halves, each of which reads its own files: two workers of pytest-xdist take a quarter more processor time, to read
# all files each and to report each test.
UNIT := unit-slipway unit-others
UNIT_TESTS := $(BIN)/python -m pytest -q -m 'not (lab or e2e or toolchain or slow)'

help: ## Show what there is to make
	@sed -n 's/^\([a-z]*\):.* ## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST)

venv: ## Virtual environment with all Python packages
	@scripts/venv

lab: venv ## Toolchain and lab; the toolchain alone with KUBECONFIG and a registry of your own
	@$(BIN)/slipway lab up --if-needed

up: lab ## Everything from nothing to the services of `dev` answering
	@$(BIN)/slipway up --stack dev --yes

check: venv ## Linters, types, import contracts and unit tests: no lab, no root, no network; about a minute
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=target lint $(UNIT)

lint: venv ## Linters, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: venv ## Unit tests: none that takes seconds, or needs the lab or a toolchain
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target $(UNIT)

unit-slipway: venv
	$(UNIT_TESTS) tests/slipway services

unit-others: venv
	$(UNIT_TESTS) tests --ignore tests/e2e --ignore tests/slipway

# Compiles the tests, so that four workers need not, each for itself.
collect: venv
	$(BIN)/python -m pytest --collect-only --quiet

test: lint lab ## Linters, types, import contracts and tests of all parts; every test with SLIPWAY_TEST_ALL=1
	$(BIN)/python -m pytest --numprocesses 4 --dist loadscope --durations 20

record: lab ## Everything recorded that tests read, anew; KINDS="diagnosis states" for some of it
	$(BIN)/python -m tests.recording $(KINDS)

bench: lab ## Slipway against Helm on the lab, timed and drawn; N="2 50 real" OPERATIONS="unchanged one" PAIRS=5 for some of it
	@N="$(N)" OPERATIONS="$(OPERATIONS)" PAIRS="$(PAIRS)" $(BIN)/python -m bench

down: venv ## Stop the lab; its data stay
	@$(BIN)/slipway lab down
