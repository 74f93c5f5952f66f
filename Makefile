# Every target creates .venv when it is missing, installs only what the target needs, and reuses it afterwards.
SHELL   := /bin/bash
PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
ARGS    ?=
WORKERS ?= 2

.PHONY: demo test test-triton test-gpu test-peers lint format bench docs notebooks test-versions clean
.SECONDARY:

demo: $(VENV)/.installed-demo
	$(BIN)/python -m tracetorch demo $(ARGS)

# Most of the time goes into building kernels; each worker computes on one thread.
test: $(VENV)/.installed-dev
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

# Triton reads TRITON_INTERPRET when it is imported, so these tests are a run of their own.
# (Status 5: no such test was collected.)
test-triton: $(VENV)/.installed-dev
	@TRITON_INTERPRET=1 $(BIN)/python -m pytest -m triton $(ARGS) || [ $$? -eq 5 ]

# A machine with a card often has the packages and no network: then no .venv is made.
test-gpu:
	@if $(PYTHON) -c 'import einops, hypothesis, mpmath, pytest, torch, triton' 2>/dev/null; then python=$(PYTHON); \
	else $(MAKE) --no-print-directory $(VENV)/.installed-dev && python=$(BIN)/python; fi; \
	$$python -m pytest -m "triton or gpu" $(ARGS) || [ $$? -eq 5 ]

# Against the other libraries that docs/migration.md speaks of, in the versions that it names.
test-peers: $(VENV)/.installed-dev $(VENV)/.installed-peers
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) tests/peers $(ARGS)

# The built wheel in empty environments, every Python and PyTorch; or make test-versions ARGS="python3.13:2.13.0"
test-versions:
	@tools/versions.sh $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .

bench: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks $(ARGS)

docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

notebooks: $(VENV)/.installed-dev $(VENV)/.installed-notebooks
	$(BIN)/python -m pytest --nbmake notebooks $(ARGS)

$(VENV)/.installed-bench: pyproject.toml constraints.txt | $(VENV)/bin/python
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps spikingjelly SciencePlots
	@touch $@

# Without their dependencies, which are packages for data sets, training and hardware, and another nir.
$(VENV)/.installed-peers: pyproject.toml constraints.txt | $(VENV)/bin/python
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[peers]'
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps norse rockpool sinabs spikingjelly
	@touch $@

$(VENV)/.installed-%: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "setting up $(VENV) for '$*' (the first time takes a few minutes) ..."
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$*]'
	@touch $@

$(VENV)/bin/python:
	@$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) build *.egg-info docs/_build docs/reference
