# Every target installs its requirements: uv from PyPI in .uv/, and the locked environment in .venv/.
PYTHON ?= python3
UV := .uv/bin/uv
BIN := .venv/bin
# Each test goes to the next free worker.
PYTEST := $(BIN)/pytest -n auto --dist worksteal

# Use the installed interpreter: uv must not download one, whatever the user's settings say.
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := .venv
# With compiled bytecode, short runs take half the time to start.
export UV_COMPILE_BYTECODE := 1
# Do not use a proxy for servers on this machine.
export no_proxy := $(no_proxy),127.0.0.1,localhost

.PHONY: help setup demo picture services emulator test bench matrix matrix-bigquery check-live lint docs packages test-newest clean
.PHONY: test-pipelines test-all search mutate drift fuzz-target fuzz-exactly-once chaos-exactly-once bench-quota
.PHONY: check-orchestrate setup-dagster dagster test-dagster test-airflow

help:
	@echo 'make demo                load a file into a topic and the topic into PostgreSQL (40 s)'
	@echo 'make services            start the emulator and PostgreSQL, to run pipelines by hand'
	@echo 'make emulator            start only the emulator: make emulator PORT=8085'
	@echo 'make test                run the tests (3 minutes on 2 cores)'
	@echo 'make test-all            run them, and pipelines with Meltano, the packages and the documented commands'
	@echo 'make lint                check style and types'
	@echo 'make search              search with new random input, faults and kills (50 minutes)'
	@echo 'make mutate              break each promise in the code, and check that its tests fail (30 minutes)'
	@echo 'make fuzz-target         test the target with random records, states, faults and signals (10 minutes)'
	@echo 'make fuzz-exactly-once   test the memory of published rows with random histories (6 minutes)'
	@echo 'make chaos-exactly-once  run the target with a store, with random kills, faults and deviations (30 minutes)'
	@echo 'make matrix              test both connectors with plugins from PyPI, and write docs/compatibility.md (6 minutes)'
	@echo 'make matrix-bigquery     the same with the loader for BigQuery (2 minutes)'
	@echo 'make drift               load changing payloads into PostgreSQL, with kills and full refreshes (6 minutes)'
	@echo 'make check-live          compare a real workspace with the assumptions about the API'
	@echo 'make dagster             open the topic of the demo as an asset in Dagster'
	@echo 'make test-dagster        test the Dagster example (1 minute)'
	@echo 'make test-airflow        test the Airflow example (3 minutes)'
	@echo 'make check-orchestrate   check the script, Dockerfile, units and manifests in orchestrate/'
	@echo 'make bench               measure the speed, and write tests/tools/benchmarks/RESULTS.md and its plot (8 minutes)'
	@echo 'make bench-quota         measure how processes share a quota (6 minutes)'
	@echo 'make picture             run the demo, and write docs/images/demo.svg'
	@echo 'make docs                generate plugin definitions, tables of settings and URLs from the code'
	@echo 'make packages            build both packages in dist/, and check them'
	@echo 'make test-newest         run all tests with the newest SDK and Meltano'
	@echo 'make clean               remove everything that these commands create'

setup: $(UV)
	@[ -x $(BIN)/python ] || { rm -rf .venv; \
		echo 'Installing the locked packages into .venv/ (about 20 seconds the first time) ...'; }
	@$(UV) sync --frozen --quiet --python $(PYTHON)

# Created under another name and then renamed, so that an interrupted run leaves no incomplete folder.
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
	@$(BIN)/python -m tests.tools.demo

picture: setup
	@$(BIN)/python -m tests.tools.demo.picture

PORT ?= 8085
emulator: setup
	@$(BIN)/workato-streams-emulator --port $(PORT)

services: setup
	@$(BIN)/python -m tests.tools.demo.services

# The tests of rules and promises. Each worker has its own emulator; the order is kept, so that the folders
# with the longest tests do not come last.
test: setup
	@echo 'Running the tests: about 3 minutes on 2 cores ...'
	@$(PYTEST) tests/promises tests/search tests/emulator tests/unit

# Real Meltano and PostgreSQL, the packages, the demo, and the commands of the documentation. Each worker runs whole
# files, whose tests share installed plugins.
test-pipelines: setup
	@echo 'Running the pipelines: about 3 minutes on 2 cores ...'
	@$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder tests/pipelines

# Unlike `make test`, it skips no test because a server is missing.
test-all: check-servers test test-pipelines

check-servers:
	@command -v redis-server >/dev/null || \
		{ echo 'redis-server is missing: on Debian and Ubuntu, apt-get install redis-server' >&2; exit 1; }

# New random examples, faults, kills and histories. A failure prints its seed or example: add it to the tests as a
# fixed one. SEED=7 repeats a search.
search: SEARCH := $(or $(SEED),$(shell date +%s))
search: setup
	@echo 'SEED=$(SEARCH)'
	@$(PYTEST) -m hypothesis --hypothesis-profile=random --hypothesis-seed=$(SEARCH)
	@$(BIN)/python -m tests.search.fuzz_target $(or $(ROUNDS),200) $(SEARCH)
	@$(BIN)/python -m tests.search.tail_soak $(or $(MINUTES),20) $(SEARCH)
	@$(BIN)/python -m tests.search.published_rows $(or $(HISTORIES),2000) $(SEARCH)
	@SEED=$(SEARCH) $(BIN)/pytest tests/pipelines/changing_payloads_scenario.py

# Break each promise in the code on purpose, and expect its tests to fail. MINUTES=5 stops after 5 minutes.
mutate: setup
	@$(BIN)/python -m tests.tools.mutate $(or $(MINUTES),30)

bench: setup
	@$(UV) sync --frozen --quiet --python $(PYTHON) --group bench
	@$(BIN)/python -m tests.tools.benchmarks

# Redis is measured only if redis-server is installed.
bench-quota: setup
	@$(BIN)/python -m tests.tools.benchmarks.quota

# Each plugin has its own environment in .matrix/. Installing them takes about a minute the first time. Needs
# MariaDB for its row (apt-get install mariadb-server). NEWEST=1 only prints what newer versions change.
matrix: setup
	@$(BIN)/python -m tests.tools.matrix

# Not in CI: its stand-in is large and changes often.
matrix-bigquery: setup
	@$(BIN)/python -m tests.tools.matrix bigquery

# Runs the executable against the emulator. ROUNDS=20 SEED=7 runs fewer rounds, with another seed.
fuzz-target: setup
	@$(BIN)/python -m tests.search.fuzz_target $(or $(ROUNDS),200) $(or $(SEED),1)

# Plays random histories on the rule, its store and the look-up. HISTORIES=5000 SEED=7 plays more of them, and others.
fuzz-exactly-once: setup
	@$(BIN)/python -m tests.search.published_rows $(or $(HISTORIES),500) $(or $(SEED),0)

# Runs the executable against the emulator, with both stores. MINUTES=5 SEED=7 runs for 5 minutes, with another seed.
chaos-exactly-once: setup
	@$(BIN)/python -m tests.search.chaos_published_rows $(or $(MINUTES),30) $(or $(SEED),1)

drift: setup
	@$(BIN)/pytest tests/pipelines/changing_payloads_scenario.py

# Dagster needs older packages than the tests, so it has its own environment.
setup-dagster: $(UV)
	@UV_PROJECT_ENVIRONMENT=.dagster/venv $(UV) sync --frozen --quiet --python $(PYTHON) \
		--no-default-groups --group dagster --group lint

dagster: setup-dagster
	@.dagster/venv/bin/python -m tests.tools.demo.dagster_ui

test-dagster: setup-dagster
	@.dagster/venv/bin/mypy orchestrate/dagster tests/pipelines/test_dagster.py tests/pipelines/orchestration.py
	@.dagster/venv/bin/pytest tests/pipelines/test_dagster.py

# Airflow is not in the lock file: its more than 100 dependencies would hold back ours.
test-airflow: setup
	@[ -x .airflow/venv/bin/airflow ] || { rm -rf .airflow && \
		$(UV) venv --quiet --python $(PYTHON) .airflow/venv && \
		$(UV) pip install --quiet --python .airflow/venv/bin/python 'apache-airflow>=3.3,<3.4'; }
	@$(BIN)/pytest tests/pipelines/airflow_scenario.py

# Checks that need no container engine, no cluster, and no systemd as process 1. systemd-analyze
# exits with 0 even if it reports problems.
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

# Needs WORKATO_API_TOKEN and WORKATO_TOPIC_ID. CHECKS=--yes publishes without asking; CHECKS='--yes --quota' also
# uses up the quota.
check-live: setup
	@$(BIN)/python -m tests.tools.live $(CHECKS)

lint: setup
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

docs: setup
	@$(BIN)/python -m tests.tools.docs

# Builds both packages in dist/, as they are uploaded to a package index.
packages: setup
	@rm -rf dist
	@$(UV) build --quiet --out-dir dist tap-workato-streams
	@$(UV) build --quiet --out-dir dist target-workato-streams
	@$(BIN)/twine check --strict dist/*

# Upgrades beyond the version limits of the requirements, to detect incompatible changes early.
test-newest: setup
	@$(UV) pip install --python $(BIN)/python --upgrade singer-sdk meltano
	@$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder

clean:
	@rm -rf .uv .uv.part .venv .airflow .dagster .matrix .meltano .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
	@find . -name __pycache__ -prune -exec rm -rf {} +
