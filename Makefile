SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help venv lab up test record lint down

BIN := .venv/bin

help: ## Show what there is to make
	@sed -n 's/^\([a-z]*\):.* ## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST)

venv: ## Virtual environment with all Python packages
	@scripts/venv

lab: venv ## Toolchain and lab; the toolchain alone with KUBECONFIG and a registry of your own
	@$(BIN)/slipway lab up --if-needed

up: lab ## Everything from nothing to the services of `dev` answering
	@$(BIN)/slipway up --stack dev --yes

lint: venv ## Linters, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint lab ## All of the above, and every test
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile

record: lab ## Everything recorded that tests read, anew; KINDS="diagnosis states" for some of it
	$(BIN)/python -m tests.recording $(KINDS)

down: venv ## Stop the lab; its data stay
	@$(BIN)/slipway lab down
