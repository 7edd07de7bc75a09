# Every target sets up what it needs: uv from PyPI into .uv/, the locked environment into .venv/.
PYTHON ?= python3
UV := .uv/bin/uv
BIN := .venv/bin

# The interpreter is the one found; uv fetches none, whatever the user's own settings say.
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := .venv
# Short runs start in half the time when their bytecode is there.
export UV_COMPILE_BYTECODE := 1
# Nothing on this machine is reached through a proxy.
export no_proxy := $(no_proxy),127.0.0.1,localhost

.PHONY: help setup demo picture services emulator test bench matrix check-live lint docs packages test-newest clean
.PHONY: drift fuzz-target fuzz-exactly-once chaos-exactly-once bench-quota
.PHONY: check-orchestrate setup-dagster dagster test-dagster test-airflow

help:
	@echo 'make demo                load a file into a topic and the topic into PostgreSQL (40 s)'
	@echo 'make services            start the emulator and PostgreSQL, for meltano run by hand'
	@echo 'make emulator            start the emulator alone: make emulator PORT=8085'
	@echo 'make test                run all tests (7 minutes on 2 cores)'
	@echo 'make lint                check style and types'
	@echo 'make fuzz-target         play random records, states, faults and signals against the target (10 minutes)'
	@echo 'make fuzz-exactly-once   play random histories against exactly_once (1 minute)'
	@echo 'make chaos-exactly-once  kill the target at random moments (5 minutes)'
	@echo 'make matrix              run real plugins with both connectors, and write docs/compatibility.md (2 minutes)'
	@echo 'make drift               load a topic whose payloads change through kills and full refreshes (4 minutes)'
	@echo 'make check-live          compare a real workspace with what the connectors assume about the API'
	@echo 'make dagster             open the topic of the demo as an asset in Dagster'
	@echo 'make test-dagster        test the Dagster example (1 minute)'
	@echo 'make test-airflow        run the Airflow example in a real Airflow (3 minutes)'
	@echo 'make check-orchestrate   check the script, Dockerfile, units and manifests in orchestrate/'
	@echo 'make bench               measure speed, and write tests/benchmarks/RESULTS.md and its plot (20 minutes)'
	@echo 'make bench-quota         measure processes that share a quota (6 minutes)'
	@echo 'make picture             run the demo, and write docs/images/demo.svg'
	@echo 'make docs                write plugin definitions and tables of settings from the code'
	@echo 'make packages            build both packages into dist/, and check them'
	@echo 'make test-newest         run all tests with the newest SDK and Meltano'
	@echo 'make clean               remove everything that these commands have made'

setup: $(UV)
	@[ -x $(BIN)/python ] || { rm -rf .venv; \
		echo 'Installing the locked packages into .venv/ (about 20 seconds the first time) ...'; }
	@$(UV) sync --frozen --quiet --python $(PYTHON)

# Made beside its place and moved there at the end, so that an interrupted run leaves no half of it.
$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 15))' || \
		{ echo '$(PYTHON) is missing or not Python 3.10 to 3.14: make PYTHON=/path/to/python3' >&2; exit 1; }
	@echo 'Installing uv into .uv/ (a few seconds) ...'
	@rm -rf .uv .uv.part
	@$(PYTHON) -m venv .uv.part || \
		{ echo '$(PYTHON) lacks venv: on Debian and Ubuntu, apt-get install python3-venv' >&2; exit 1; }
	@.uv.part/bin/python -m pip install -qq --disable-pip-version-check 'uv>=0.9'
	@mv .uv.part .uv

demo: setup
	@echo 'Running the demo: about 40 seconds, longer the first time ...'
	@$(BIN)/python -m tests.demo

picture: setup
	@$(BIN)/python -m tests.demo.picture

PORT ?= 8085
emulator: setup
	@$(BIN)/python -m tests.emulator --port $(PORT)

services: setup
	@$(BIN)/python -m tests.demo.services

# Each worker has an emulator of its own, and a file of tests stays with one. In the order of the
# folders: the files that take longest have few tests, and would otherwise be started last.
test: setup
	@echo 'Running all tests: about 7 minutes on 2 cores ...'
	@$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder

bench: setup
	@$(UV) sync --frozen --quiet --python $(PYTHON) --group bench
	@$(BIN)/python -m tests.benchmarks

# Redis is measured where redis-server is installed.
bench-quota: setup
	@$(BIN)/python -m tests.benchmarks.quota

# Each plugin in an environment of its own, in .matrix/: about a minute at first, then as long again.
matrix: setup
	@$(BIN)/python -m tests.matrix

# The executable against the emulator. ROUNDS=20 SEED=7 plays fewer, from another seed.
fuzz-target: setup
	@$(BIN)/python -m tests.fuzz_target $(or $(ROUNDS),200) $(or $(SEED),1)

# Random histories against the code, as many as fit into a minute. SECONDS=600 plays more.
fuzz-exactly-once: setup
	@$(BIN)/python -m tests.exactly_once $(or $(SECONDS),60)

# The executable against the emulator, killed at random moments, then real taps through meltano run,
# which takes 3 minutes more. MINUTES=30 takes half an hour.
chaos-exactly-once: setup
	@$(BIN)/python -m tests.exactly_once.chaos $(or $(MINUTES),5)
	@$(BIN)/python -m tests.exactly_once.pipelines

drift: setup
	@$(BIN)/pytest tests/project/drift_scenario.py

# Dagster needs older packages than the tests, so it has an environment of its own.
setup-dagster: $(UV)
	@UV_PROJECT_ENVIRONMENT=.dagster/venv $(UV) sync --frozen --quiet --python $(PYTHON) \
		--no-default-groups --group dagster --group lint

dagster: setup-dagster
	@.dagster/venv/bin/python -m tests.demo.dagster_ui

test-dagster: setup-dagster
	@.dagster/venv/bin/mypy orchestrate/dagster tests/orchestrate
	@.dagster/venv/bin/pytest tests/orchestrate/test_dagster.py

# Airflow's packages are not in the lock: with its more than 100 dependencies, they would hold back ours.
test-airflow: setup
	@[ -x .airflow/venv/bin/airflow ] || { rm -rf .airflow && \
		$(UV) venv --quiet --python $(PYTHON) .airflow/venv && \
		$(UV) pip install --quiet --python .airflow/venv/bin/python 'apache-airflow>=3.3,<3.4'; }
	@$(BIN)/pytest tests/orchestrate/check_airflow.py

# What can be checked without a container engine, a cluster or systemd as process 1. systemd-analyze
# reports problems without an exit code of its own.
check-orchestrate: setup
	@$(UV) sync --frozen --quiet --python $(PYTHON) --group orchestrate
	@$(BIN)/shellcheck orchestrate/run.sh
	@$(BIN)/hadolint orchestrate/docker/Dockerfile
	@$(BIN)/kubernetes-validate --strict --quiet orchestrate/kubernetes/*.yaml
	@command -v systemd-analyze >/dev/null || \
		{ echo 'systemd-analyze is missing: on Debian and Ubuntu, apt-get install systemd' >&2; exit 1; }
	@units=$$(mktemp -d) && trap 'rm -rf "$$units"' EXIT && \
		for unit in orchestrate/systemd/*; do \
			sed 's#/srv/workato-streams#$(CURDIR)#g' "$$unit" >"$$units/$${unit##*/}"; \
		done && \
		problems=$$(systemd-analyze verify "$$units"/* 2>&1) && \
		if [ -n "$$problems" ]; then echo "$$problems" >&2; exit 1; fi
	@echo 'orchestrate/: no problems found'

# Needs WORKATO_API_TOKEN and WORKATO_TOPIC_ID; `make check-live CHECKS=--quota` also uses up the quota.
check-live: setup
	@$(BIN)/python -m tests.live $(CHECKS)

lint: setup
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

docs: setup
	@$(BIN)/python -m tests.project.docs

# Both packages as an index gets them, in dist/.
packages: setup
	@rm -rf dist
	@$(UV) build --quiet --out-dir dist tap-workato-streams
	@$(UV) build --quiet --out-dir dist target-workato-streams
	@$(BIN)/twine check --strict dist/*

# Beyond what the requirements allow, to see early what is going to break.
test-newest: setup
	@$(UV) pip install --quiet --python $(BIN)/python --upgrade singer-sdk meltano
	@$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder

clean:
	@rm -rf .uv .uv.part .venv .airflow .dagster .matrix .meltano .mypy_cache .pytest_cache .ruff_cache .hypothesis
