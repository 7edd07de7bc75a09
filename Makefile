# Every target sets up what it needs: uv from PyPI into .uv/, the locked environment into .venv/.
PYTHON ?= python3
UV := .uv/bin/uv
RUN := $(UV) run --frozen

export UV_COMPILE_BYTECODE := 1
export UV_PYTHON_DOWNLOADS := never

.PHONY: setup test lint

setup: $(UV)
	@$(UV) sync --frozen --quiet --python $(PYTHON)

$(UV):
	@$(PYTHON) -m venv .uv
	@.uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'

test: setup
	@$(RUN) pytest

lint: setup
	@$(RUN) ruff format --check .
	@$(RUN) ruff check .
	@$(RUN) mypy
