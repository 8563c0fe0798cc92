# Each target works on a machine with Python >= 3.10, venv and make, and makes .venv itself.
PYTHON ?= python3
BIN := .venv/bin
# Where `make bench` writes its 2.3 GB checkpoint. It reads the texts of ../shared, or else those of the built-in probe.
BENCH ?= $(or $(TMPDIR),/tmp)/bge-cpu-bench

.PHONY: install demo lint test test-fast test-native test-arm bench docs image clean

install: .venv/.dev

.venv/.base: pyproject.toml hatch_build.py $(wildcard native/*.[ch]) native/build.py
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/.dev: .venv/.base
	$(BIN)/python -m pip install --quiet --editable '.[all]' --group dev
	@touch $@

.venv/.docs: .venv/.base
	$(BIN)/python -m pip install --quiet --group docs
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

# The kernels' tests once more: under sanitizers, and with the instructions that this machine lacks in emulation (needs
# Debian's libsimde-dev; slow, hence fewer examples). Python itself is not built for the sanitizers, so their libraries
# are loaded first.
NATIVE_TESTS = $(BIN)/python -m pytest tests/native --confcutdir tests/native -q --ignore tests/native/test_packaging.py
test-native: .venv/.dev
	$(PYTHON) native/build.py build/native/sanitized.so --sanitize address,undefined
	BGE_KERNELS_LIBRARY=$$PWD/build/native/sanitized.so ASAN_OPTIONS=detect_leaks=0 \
		LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)" $(NATIVE_TESTS)
	$(PYTHON) native/build.py build/native/emulated.so --emulated --sanitize address
	BGE_KERNELS_LIBRARY=$$PWD/build/native/emulated.so BGE_TEST_EXAMPLES=8 ASAN_OPTIONS=detect_leaks=0 \
		LD_PRELOAD="$$($(CC) -print-file-name=libasan.so)" $(NATIVE_TESTS)
	$(PYTHON) native/build.py build/native/threads.so --sanitize thread
	$(CC) -std=c11 -g -fsanitize=thread -o build/native/threads tests/native/threads.c build/native/threads.so -lm -lpthread
	LD_LIBRARY_PATH=build/native build/native/threads

# The arm64 kernels in qemu (needs Debian's gcc-aarch64-linux-gnu and qemu-user).
ARM_CC = aarch64-linux-gnu-gcc -std=c11 -O2 -ffp-contract=off -D_GNU_SOURCE -static
test-arm:
	@mkdir -p build/native
	$(ARM_CC) -march=armv8.2-a+dotprod -o build/native/arm tests/native/threads.c $(addprefix native/,bert.c team.c \
		serial.c dispatch.c kernels_neon.c) -lm -lpthread
	qemu-aarch64 -cpu max build/native/arm

bench: .venv/.dev
	$(BIN)/python -m pip install --quiet --group benchmark
	@[ -f $(BENCH)/checkpoint/model.safetensors ] || $(BIN)/python benchmarks/make_checkpoint.py $(BENCH)/checkpoint
	$(BIN)/python benchmarks/peers.py $(BENCH)/checkpoint --here --work $(if $(wildcard ../shared/data/eval),a,f) --work-dir $(BENCH)

# The documentation as a site, in site/: a page that is missing, or a link or an anchor that leads nowhere, is an error (with
# --quiet, --strict would not notice).
docs: .venv/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# deploy/Dockerfile without a Docker engine, and the service in it tried (root; Debian's buildah and debootstrap; minutes).
IMAGE ?= $(or $(TMPDIR),/tmp)/bge-cpu-image
image:
	$(PYTHON) deploy/image.py $(IMAGE)

clean:
	rm -rf .venv dist build core/bge_cpu/kernels/_bge_kernels.* site .mypy_cache .ruff_cache .pytest_cache .hypothesis
