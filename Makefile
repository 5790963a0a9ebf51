# make train: from a fresh clone to a trained and scored room.  make test: the same set-up, then the tests.
GIVEN_PYTHON := $(if $(filter environment command,$(firstword $(origin PYTHON))),$(PYTHON))
SYSTEM_PYTHON ?= python3
VENV ?= .venv
PYTHON := $(VENV)/bin/python
TORCH ?= torch==2.14.1 torchvision==0.29.1
TRAIN_FLAGS ?=
TEST_FLAGS ?=
NATIVE := $(shell git ls-files 'cuda_ext/*.cpp' 'cuda_ext/*.h' 'cuda_ext/*.cu' 'cuda_ext/*.cuh')
# Tests start many processes, and without kept bytecode each compiles the package and pytest rewrites its tests anew.
unexport PYTHONDONTWRITEBYTECODE
SOURCES := setup.py $(wildcard cuda_ext/*/*.cpp cuda_ext/*/*.h cuda_ext/cpu/levels/* cuda_ext/bindings/cuda/* cuda_ext/cuda/*)

.PHONY: train test quick lint format typecheck docs clean setup gpu-check release-check release-tests sanitize collect results results-check
.DELETE_ON_ERROR:

train: $(VENV)/.extension
	$(PYTHON) train.py --config room.txt --ssim_remove_at 70 --overwrite $(TRAIN_FLAGS)

test: $(VENV)/.development $(VENV)/.extension
	$(PYTHON) -m pytest $(TEST_FLAGS)

# For a machine with a GPU: builds the CUDA kernels, tests and times them, and prints a page to paste, in eight minutes.
# PYTHON=python3 takes that Python as it is: no environment is made, and nothing is fetched.
gpu-check: $(if $(GIVEN_PYTHON),,$(VENV)/.development)
	$(or $(GIVEN_PYTHON),$(PYTHON)) -m tests.gpu.check $(GPU_CHECK_FLAGS)

lint: $(VENV)/.development
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(VENV)/bin/clang-format --dry-run -Werror $(NATIVE)
	$(VENV)/bin/lint-imports --no-cache pyproject.toml

format: $(VENV)/.development
	$(PYTHON) -m ruff format .
	$(VENV)/bin/clang-format -i $(NATIVE)

typecheck: $(VENV)/.development
	$(PYTHON) -m mypy

# Every room on two cores, without what is marked as slow.
quick: $(VENV)/.development $(VENV)/.extension
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(PYTHON) -m pytest -m "not slow and not release" -n 2 --dist worksteal $(TEST_FLAGS)

# What takes too long for every change and has to pass before a release: the tests that take minutes, then a fresh
# environment of each Python that installs and runs the package.
release-check: release-tests
	BUILDER=$(PYTHON) .ci/release_check

release-check: sanitize

# The operators' tests over the extension compiled with sanitizers: half an hour.
sanitize: $(VENV)/.development
	$(PYTHON) tests/sanitize.py $(SANITIZE_FLAGS)

release-tests: $(VENV)/.development $(VENV)/.extension
	$(PYTHON) -m pytest -m release $(TEST_FLAGS)
	NERF_SSIM_NO_EXT=1 $(PYTHON) -m pytest -m "not slow and not release" tests/evaluation tests/runs $(TEST_FLAGS)
	NERF_SSIM_NO_EXT=1 $(PYTHON) -m pytest -m "slow and not release" tests/ops tests/ssim tests/rays tests/models \
		tests/training tests/images tests/evaluation tests/runs $(TEST_FLAGS)

docs: $(VENV)/.development
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict --quiet

# What finished and begun runs of sweeps found, into docs/data: make collect SWEEPS="runs/which_part runs/table1"
collect: $(VENV)/.installed
	$(PYTHON) -m nerf_ssim.experiments.evidence collect $(SWEEPS)

# Every table and figure of the pages, from docs/data alone.
results: $(VENV)/.installed
	$(PYTHON) -m nerf_ssim.experiments.evidence redraw

results-check: $(VENV)/.installed
	$(PYTHON) -m nerf_ssim.experiments.evidence redraw --check

setup: $(VENV)/.extension

clean:
	rm -rf build dist site nerf_ssim/_C*.so $(VENV)/.extension
	find nerf_ssim tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(PYTHON):
	$(SYSTEM_PYTHON) -m venv $(VENV)

# The package is installed without its extension first: the next rule builds that, where its outcome can be seen.
$(VENV)/.installed: setup.py pyproject.toml | $(PYTHON)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check "setuptools>=68" wheel ninja $(TORCH)
	NERF_SSIM_NO_EXT=1 $(PYTHON) -m pip install --quiet --disable-pip-version-check --no-build-isolation -e ".[eval,report,sweep,video]"
	@touch $@

$(VENV)/.development: $(VENV)/.installed
	NERF_SSIM_NO_EXT=1 $(PYTHON) -m pip install --quiet --disable-pip-version-check --no-build-isolation -e ".[dev]"
	@touch $@

$(VENV)/.extension: $(SOURCES) | $(VENV)/.installed
	$(PYTHON) setup.py --quiet build_ext --inplace
	@touch $@
