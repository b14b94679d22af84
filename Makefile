# Each command sets up what it needs in .venv first; where that is done already it starts at once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SOURCES := pyproject.toml constraints.txt CMakeLists.txt \
  $(shell find cpp python -name '*.[ch]pp' -o -name '*.py' -o -name '*.j2')

.PHONY: help study test bench lint format clean

help:
	@echo "make study   train the built-in zoo and write the study's page to ovcore-study/"
	@echo "make test    run every test"
	@echo "make bench   time ovcore against its peers on this machine"
	@echo "make lint    check style, types, layers and stubs;  make format  repairs style"
	@echo "make clean   remove what these commands made, but for the trained zoo in the cache"

study: $(VENV)/study.installed
	$(BIN)/ovcore study

test: $(VENV)/test.installed
	$(BIN)/cmake -S . -B build/cpp-tests -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja \
	  -DOVCORE_BUILD_TESTS=ON -DOVCORE_WERROR=$(or $(OVCORE_WERROR),OFF) >build/cpp-tests.log
	$(BIN)/cmake --build build/cpp-tests >>build/cpp-tests.log || { cat build/cpp-tests.log; false; }
	cd build/cpp-tests && ../../$(BIN)/ctest --output-on-failure --no-tests=ignore
	$(BIN)/python -m pytest

bench: $(VENV)/bench.installed
	$(BIN)/python -m pytest bench -o python_files='bench_*.py' -o python_functions='bench_*' \
	  --benchmark-columns=median --benchmark-json=build/bench.json -q
	$(BIN)/python bench/side_by_side.py

lint: $(VENV)/lint.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $$(find cpp -name '*.[ch]pp')
	$(BIN)/mypy
	$(BIN)/stubtest ovcore._native
	$(BIN)/lint-imports

format: $(VENV)/lint.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $$(find cpp -name '*.[ch]pp')

clean:
	rm -rf $(VENV) build dist ovcore-study .pytest_cache .mypy_cache .ruff_cache .benchmarks
	find python tests bench -name __pycache__ -type d -exec rm -rf {} +

# One stamp for each set of extras. The build runs in .venv itself, so that a changed kernel
# recompiles alone; numba comes along so that ovcore also runs where there is no C++ compiler.
$(VENV)/%.installed: $(SOURCES)
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "Installing ovcore[$*] into $(VENV) ..."
	@$(PIP) install -c constraints.txt scikit-build-core pybind11 cmake ninja
	@$(PIP) install -c constraints.txt --no-build-isolation --editable '.[numba,$*]'
	@mkdir -p build
	@$(BIN)/ovcore info
	@touch $@
