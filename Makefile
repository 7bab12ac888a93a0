# The front door. `make demo` shows it at work, `make serve` runs it; `make test` and `make check` are what CI runs.
#
# PyTorch: on Linux, PyPI's wheels bring CUDA. Without a GPU, take PyTorch's own CPU wheels, a tenth of the size:
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
# (https://pytorch.org/get-started/locally/ lists the indexes.)

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
EXTRA_INDEX := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX),)
PYTEST ?= -m "not postgres and not gpu"
WORKERS ?= 2

.PHONY: demo serve test test-fast check format bench openapi docs clean

$(VENV)/.run: pyproject.toml client/pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade "pip>=24.1"
	$(PIP) install --quiet -c constraints.txt $(EXTRA_INDEX) -e "./client" -e ".[llm]"
	touch $@

$(VENV)/.dev: $(VENV)/.run
	$(PIP) install --quiet -c constraints.txt $(EXTRA_INDEX) -e "./client" -e ".[llm,st,parser,server,dev]"
	touch $@

demo: $(VENV)/.run
	$(BIN)/recalld models pull smollm2
	$(BIN)/recalld demo

serve: $(VENV)/.run
	$(BIN)/recalld serve

test: $(VENV)/.dev
	$(BIN)/recalld models pull smollm2
	$(BIN)/recalld models pull minilm-st
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(PYTEST)

test-fast: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not slow and not postgres and not gpu"

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	cd client && ../$(BIN)/mypy --strict recalld_client
	$(BIN)/lint-imports
	$(BIN)/python -m docs.generate --check

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.dev
	$(BIN)/python -m docs.generate

bench: $(VENV)/.dev
	$(BIN)/python -m bench $(BENCH)

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
