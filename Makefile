# Each target works on a machine with Python >= 3.10, venv and make, and makes .venv itself.
PYTHON ?= python3
BIN := .venv/bin
# Where `make bench` writes its 2.3 GB checkpoint.
BENCH ?= $(or $(TMPDIR),/tmp)/bge-cpu-bench

.PHONY: install demo lint test test-fast bench clean

install: .venv/.dev

.venv/.base: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/.dev: .venv/.base
	$(BIN)/python -m pip install --quiet --editable '.[all]' --group dev
	@touch $@

demo: .venv/.base
	$(BIN)/bge-cpu demo

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: .venv/.dev
	$(BIN)/pytest

# The daily loop: no trained weights, no Hub, no training, no PyTorch.
test-fast: .venv/.dev
	$(BIN)/pytest -m 'not (model or hub or slow)' --ignore=tests/training

bench: .venv/.dev
	$(BIN)/python -m pip install --quiet --group benchmark
	@[ -f $(BENCH)/checkpoint/model.safetensors ] || $(BIN)/python benchmarks/make_checkpoint.py $(BENCH)/checkpoint
	$(BIN)/python benchmarks/peers.py $(BENCH)/checkpoint --here --work a --work-dir $(BENCH)

clean:
	rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
