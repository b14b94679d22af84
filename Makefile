# Each command sets up what it needs in .venv first; where that is done already it starts at once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SOURCES := pyproject.toml constraints.txt CMakeLists.txt \
  $(shell find cpp python -name '*.[ch]pp' -o -name '*.cu*' -o -name '*.cmake' -o -name '*.py' \
    -o -path '*/study/templates/*' -o -path '*/study/facts/*')
CPP := $$(find cpp examples -name '*.[ch]pp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh')

.PHONY: help study test bench gpu-check lint format clean

help:
	@echo "make study   train the built-in zoo and write the study's page to ovcore-study/"
	@echo "make test    run every test"
	@echo "make bench   time ovcore against its peers on this machine"
	@echo "make gpu-check   on a machine with a GPU: check its kernels against the CPU and time them"
	@echo "make lint    check style, types, layers and stubs;  make format  repairs style"
	@echo "make clean   remove what these commands made, but for the trained zoo in the cache"

study: $(VENV)/study.installed
	$(BIN)/ovcore study

test: $(VENV)/test.installed
	$(BIN)/cmake -S . -B build/cpp-tests -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja \
	  -DOVCORE_BUILD_TESTS=ON -DOVCORE_WERROR=$(or $(OVCORE_WERROR),OFF) -DOVCORE_CUDA=OFF \
	  -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python \
	  -Dpybind11_DIR=$$($(BIN)/python -m pybind11 --cmakedir) >build/cpp-tests.log
	$(BIN)/cmake --build build/cpp-tests >>build/cpp-tests.log || { cat build/cpp-tests.log; false; }
	cd build/cpp-tests && ../../$(BIN)/ctest --output-on-failure --no-tests=ignore
	$(BIN)/python -m pytest

bench: $(VENV)/bench.installed
	$(BIN)/python -m pytest bench -o python_files='bench_*.py' -o python_functions='bench_*' \
	  --benchmark-columns=median --benchmark-json=build/bench.json -q
	$(BIN)/python bench/side_by_side.py

# Builds with what is installed there: no environment, no registry.
gpu-check:
	@nvidia-smi -L 2>/dev/null || { echo "no NVIDIA GPU here: nvidia-smi lists none"; exit 77; }
	OVCORE_CUDA=ON OVCORE_REQUIRE_NATIVE=ON $(PYTHON) -m pip install --quiet --no-build-isolation \
	  --no-deps --no-index --upgrade --target build/gpu-check .
	OVCORE_REQUIRE_GPU=1 PYTHONPATH=build/gpu-check $(PYTHON) -m pytest -W default -m gpu tests/test_kernels.py \
	  tests/test_ensemble_kernels.py tests/test_angle_histogram.py tests/test_real_gpu.py tests/test_real_gpu_features.py tests/test_extract_store.py
	PYTHONPATH=build/gpu-check $(PYTHON) bench/gpu_check.py --json build/gpu-check.json

lint: $(VENV)/lint.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(CPP)
	$(BIN)/mypy
	$(BIN)/stubtest ovcore._native
	! $(BIN)/python -c 'import ovcore._cuda' 2>/dev/null || \
	  $(BIN)/stubtest ovcore._cuda --allowlist tests/stubtest_allowlist.txt
	$(BIN)/lint-imports

format: $(VENV)/lint.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CPP)

clean:
	rm -rf $(VENV) build dist ovcore-study .pytest_cache .mypy_cache .ruff_cache .benchmarks
	find python tests bench -name __pycache__ -type d -exec rm -rf {} +

# One stamp for each set of extras. The build runs in .venv itself, so that a changed kernel
# recompiles alone; numba comes along so that ovcore also runs where there is no C++ compiler.
$(VENV)/%.installed: $(SOURCES)
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "Installing ovcore[$*] into $(VENV) ..."
	@$(PIP) install -c constraints.txt scikit-build-core pybind11 cmake ninja setuptools wheel
	@$(PIP) install -c constraints.txt --no-build-isolation --editable '.[numba,$*]'
	@mkdir -p build
	@$(BIN)/ovcore info
	@touch $@
