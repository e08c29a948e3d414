# Two commands, each alone on a fresh machine: `make listen` and `make test`.

PYTHON ?= python3
VENV ?= .venv
# Where a CPU build of torch is not what pip finds by itself:
#   make test TORCH="torch==2.13.0 --index-url URL-of-a-CPU-index"
TORCH ?= torch==2.13.0
DURATION ?=
ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
C_SOURCES = $(shell find benchmarks edge_audio firmware_bridge tests -name "*.[ch]" -o -name "*.cpp")
LISTEN_EXTRAS := mic,tflite
TEST_EXTRAS := archive,cluster,metrics,mqtt,webhook,mic,serial,tflite,onnx,executorch,plot,train,teachers,export,firmware,docs,dev

.DEFAULT_GOAL := help
.PHONY: help listen test lint docs audit clean

help:
	@echo "make listen   install what listening needs (no torch) and listen: microphone, else demo"
	@echo "              DURATION=10 stops after 10 s; ARGS='--format jsonl' goes to edge-audio listen"
	@echo "make test     install everything, then ruff, mypy and all tests (ARGS goes to pytest)"
	@echo "make lint     ruff, clang-format and mypy alone"
	@echo "make docs     the reference of the public Python names, build/reference/edge_audio.html"
	@echo "make audit    look for known vulnerabilities in what is installed"
	@echo "make clean    remove $(VENV), caches and build folders"

listen: $(VENV)/listen.stamp
	@$(BIN)/edge-audio listen --model tiny-int8 --source auto \
		$(if $(DURATION),--duration $(DURATION)) $(ARGS)

test: lint
	@.ci/arm64-root build/arm64 $(BIN)/python || true
	@AUDIT_OPTIONAL=1 .ci/audit $(BIN)/python
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(BIN)/clang-format --dry-run --Werror $(C_SOURCES)
	$(BIN)/mypy

docs: $(VENV)/docs.stamp
	@$(BIN)/python docs/reference.py

audit: $(VENV)/test.stamp
	@.ci/audit $(BIN)/python

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis

$(BIN)/pip:
	@.ci/make-venv $(PYTHON) $(VENV)

$(VENV)/listen.stamp: pyproject.toml | $(BIN)/pip
	@.ci/system-packages libportaudio2
	@echo "Installing edge-audio[$(LISTEN_EXTRAS)] into $(VENV) ..."
	@$(PIP) --editable '.[$(LISTEN_EXTRAS)]'
	@touch $@

$(VENV)/docs.stamp: pyproject.toml | $(BIN)/pip
	@$(PIP) --editable '.[docs]'
	@touch $@

$(VENV)/test.stamp: pyproject.toml | $(BIN)/pip
	@.ci/system-packages libportaudio2 libasound2-plugins pulseaudio pulseaudio-utils systemd ffmpeg mosquitto openssl \
		g++ mmdebstrap qemu-user-static \
		gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm \
		gcc-aarch64-linux-gnu libc6-dev-arm64-cross gcc-arm-linux-gnueabihf libc6-dev-armhf-cross \
		chromium clang libclang-rt-dev cmake nodejs default-jdk-headless
	@echo "Installing edge-audio[$(TEST_EXTRAS)] into $(VENV) (some minutes, once) ..."
	@$(PIP) $(TORCH)
	@$(PIP) --editable '.[$(TEST_EXTRAS)]'
	@touch $@
