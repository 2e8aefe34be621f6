# Two commands are all a newcomer needs: `make run` and `make test`. Each does its own set-up.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
BIN := .venv/bin
PORT ?= 8443
T ?= tests
K ?=
.PHONY: run test setup lint type bench deep chaos fresh guide screenshots

run:            ## the demo federation on this machine; SELFCHECK=1 signs in, reports and stops
	@$(PYTHON) scripts/setup.py run
	@exec $(BIN)/crosshall demo run --port $(PORT) $(if $(SELFCHECK),--selfcheck,)

test:           ## everything: lint, types, layers, unit, contract and live tests (T=path K=pattern to narrow)
	@$(PYTHON) scripts/setup.py test
	@$(MAKE) -s lint type
ifeq ($(T)$(K),tests)
	@$(BIN)/python -m pytest tests --ignore=tests/live --ignore=tests/nodes
	@$(BIN)/python -m pytest tests/live
	@$(BIN)/python -m pytest tests/nodes
else
	@$(BIN)/python -m pytest $(T) $(if $(K),-k "$(K)",)
endif

setup:          ## the environment only
	@$(PYTHON) scripts/setup.py setup

lint:
	@$(BIN)/ruff check -q . && $(BIN)/ruff format -q --check . && $(BIN)/lint-imports --no-logo | tail -n 2

type:
	@$(BIN)/mypy

bench:          ## K=signin, …: prints `ratio NAME VALUE`
	@$(PYTHON) scripts/setup.py test
	@$(BIN)/python -m bench $(K)

deep:           ## 10,000 generated chains and leaves, 10^6 executions of each fuzz target (K=differential|engines|fuzz|refresh a part, K=10% a share)
	@$(PYTHON) scripts/setup.py test
	@$(BIN)/uv pip install -q --require-hashes -r requirements/deep.lock && nice $(BIN)/python -m tests.deep $(K)

chaos:          ## faults injected into a running federation, judged from outside; writes docs/chaos.md (K=word a part: renews its rows)
	@$(PYTHON) scripts/setup.py chaos
	@$(BIN)/python -m tests.nodes.chaos $(if $(K),"$(K)") --report docs/chaos.md

fresh:          ## the README's commands in a bare Debian 12 root: the honest test of set-up
	@$(PYTHON) scripts/fresh.py

guide:          ## docs/guide-operators.md typed word by word on two bare Debian 12 roots with a cable between them
	@$(PYTHON) scripts/setup.py chaos
	@$(BIN)/python -m scripts.guide
