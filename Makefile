# Each command alone on a fresh machine: `make listen`, `make check`, `make test`.

PYTHON ?= python3
# What `make check` needs is little, and has an environment of its own: a test that needs more
# than it says shows at once.
VENV ?= .venv
CHECK_VENV ?= .venv-check
# Of the wheels, as .ci/wheels calls them; all unless some are named
PLATFORMS ?=
# Where a CPU build of torch is not what pip finds by itself:
#   make test TORCH="torch==2.13.0 --index-url URL-of-a-CPU-index"
TORCH ?= torch==2.13.0
DURATION ?=
ARGS ?=
# Tests at a time, one more than processors, as many wait most of their time; 0 for one after the
# other in one process, e.g. to debug
JOBS ?= $(shell n=$$(nproc); echo $$((n < 8 ? n + 1 : 8)))

# Tests start hundreds of programs, each of which would compile our sources anew
unexport PYTHONDONTWRITEBYTECODE

BIN := $(VENV)/bin
CHECK_BIN := $(CHECK_VENV)/bin
PIP_OPTIONS := --quiet --disable-pip-version-check
PIP := $(BIN)/python -m pip install $(PIP_OPTIONS)
CHECK_PIP := $(CHECK_BIN)/python -m pip install $(PIP_OPTIONS)
PARALLEL := --numprocesses $(JOBS) --dist worksteal
SLOWEST := --durations 20 --durations-min 1
C_SOURCES = $(shell find benchmarks edge_audio examples firmware_bridge tests -name "*.[ch]" -o -name "*.cpp")
LISTEN_EXTRAS := mic
# Where the C engine, which needs no other runtime, could not be compiled for want of a compiler
LISTEN_INSTEAD := mic,tflite
CHECK_EXTRAS := archive,media,metrics,mqtt,notify,page,plot,serial,tflite,webhook,dev
TEST_EXTRAS := cluster,docs,executorch,export,firmware,mic,onnx,teachers,train,browser,$(CHECK_EXTRAS)
# What mypy cannot know where torch and the exporters are not installed
WITHOUT_LIBRARIES := --allow-subclassing-any --allow-untyped-decorators --no-warn-return-any --no-warn-unused-ignores
# Kinds of tests, in tests/support/kinds.py
KINDS := quick train export firmware browser android arm64 soundcard broker real_audio soak
KIND_TARGETS := $(addprefix test-,$(KINDS))
# mypy for the oldest and the newest Python that is promised
TYPES := types-3.10 types-3.13
LINT := $(TYPES) lint-format
TOGETHER := $(MAKE) --no-print-directory --jobs 3 --output-sync

.DEFAULT_GOAL := help
.PHONY: help listen check test $(KIND_TARGETS) test-packages test-libraries lint $(LINT) docs audit \
	optional-audit arm64-python wheels clean

help:
	@echo "make listen      install what listening needs (no torch) and listen: microphone, else demo"
	@echo "                 DURATION=10 stops after 10 s; ARGS='--format jsonl' goes to edge-audio listen"
	@echo "make check       before every commit: ruff, mypy and the quick tests; installs little"
	@echo "make test        install everything, then lint and all tests"
	@echo "make test-KIND   one kind of tests:"
	@echo "                 $(KINDS)"
	@echo "                 ARGS='-k mqtt' goes to pytest; JOBS=0 runs tests in one process"
	@echo "make lint        ruff, clang-format, and mypy for the oldest and the newest Python"
	@echo "make docs        the reference of the public Python names, build/reference/edge_audio.html"
	@echo "make wheels      an sdist and wheels for all platforms in dist/, compiled by zig (PLATFORMS=... for some)"
	@echo "make audit       look for known vulnerabilities in what is installed"
	@echo "make clean       remove $(VENV), $(CHECK_VENV), caches and build folders"

listen: $(VENV)/listen.stamp
	@$(BIN)/edge-audio listen --model tiny-int8 --source auto \
		$(if $(DURATION),--duration $(DURATION)) $(ARGS)

check: $(CHECK_VENV)/check.stamp
	$(call formatted,$(CHECK_BIN))
	.ci/types $(CHECK_BIN)/python own $(WITHOUT_LIBRARIES)
	$(CHECK_BIN)/python -m pytest $(PARALLEL) -m quick $(ARGS)

test: $(VENV)/test.stamp
	@$(TOGETHER) $(LINT) arm64-python optional-audit
	$(BIN)/python -m pytest $(PARALLEL) $(SLOWEST) $(ARGS)

$(KIND_TARGETS): test-%: $(VENV)/test.stamp
	@$(if $(filter arm64,$*),$(TOGETHER) arm64-python,:)
	$(BIN)/python -m pytest $(PARALLEL) $(SLOWEST) -m $* $(ARGS)

lint: $(VENV)/test.stamp
	@$(TOGETHER) $(LINT)

lint-format: $(VENV)/test.stamp
	$(call formatted,$(BIN))

define formatted
$(1)/ruff check .
$(1)/ruff format --check .
@$(1)/clang-format --dry-run --Werror $(C_SOURCES)
endef

$(TYPES): types-%: $(VENV)/test.stamp
	.ci/types $(BIN)/python $*

docs: $(VENV)/docs.stamp
	@$(BIN)/python docs/reference.py

wheels: $(VENV)/wheels.stamp
	@$(BIN)/python .ci/wheels dist $(PLATFORMS)

audit: $(VENV)/test.stamp
	@.ci/audit $(BIN)/python

optional-audit: $(VENV)/test.stamp
	@AUDIT_OPTIONAL=1 .ci/audit $(BIN)/python

arm64-python: $(VENV)/test.stamp
	@.ci/arm64-root build/arm64 $(BIN)/python || true

clean:
	rm -rf $(VENV) $(CHECK_VENV) build dist edge_audio/engine/lib *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis

$(BIN)/pip:
	@.ci/make-venv $(PYTHON) $(VENV)

$(CHECK_BIN)/pip:
	@.ci/make-venv $(PYTHON) $(CHECK_VENV)

$(VENV)/listen.stamp: pyproject.toml | $(BIN)/pip
	@.ci/system-packages libportaudio2
	@echo "Installing edge-audio[$(LISTEN_EXTRAS)] into $(VENV) ..."
	@$(PIP) --editable '.[$(LISTEN_EXTRAS)]'
	@$(BIN)/python -m edge_audio.backends.engine_library || $(PIP) --editable '.[$(LISTEN_INSTEAD)]'
	@touch $@

$(CHECK_VENV)/check.stamp: pyproject.toml | $(CHECK_BIN)/pip
	@echo "Installing edge-audio[$(CHECK_EXTRAS)] into $(CHECK_VENV) ..."
	@$(CHECK_PIP) --editable '.[$(CHECK_EXTRAS)]'
	@touch $@

$(VENV)/wheels.stamp: pyproject.toml | $(BIN)/pip
	@$(PIP) 'setuptools>=77,<82' --editable '.[firmware]'
	@touch $@

$(VENV)/docs.stamp: pyproject.toml | $(BIN)/pip
	@$(PIP) --editable '.[docs]'
	@touch $@

$(VENV)/test.stamp: pyproject.toml | $(BIN)/pip
	@echo "Installing edge-audio[$(TEST_EXTRAS)] into $(VENV) (some minutes, once) ..."
	@$(MAKE) --no-print-directory --jobs 2 test-packages test-libraries
	@$(PIP) --no-deps --editable . # again, now that there is a compiler for the engine
	@touch $@

test-packages:
	@.ci/system-packages libportaudio2 libasound2-plugins pulseaudio pulseaudio-utils systemd ffmpeg mosquitto openssl \
		g++ mmdebstrap qemu-user-static \
		gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm \
		gcc-aarch64-linux-gnu libc6-dev-arm64-cross gcc-arm-linux-gnueabihf libc6-dev-armhf-cross \
		chromium clang libclang-rt-dev cmake nodejs default-jdk-headless

# Their modules are compiled as they are imported: most of the 27,000 never are
test-libraries: | $(BIN)/pip
	@$(PIP) --no-compile $(TORCH)
	@EDGE_AUDIO_ENGINE=none $(PIP) --no-compile --editable '.[$(TEST_EXTRAS)]'
