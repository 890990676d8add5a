# make demo | test | lint | bench | engine.  Each sets up what it needs, by itself, and can be run again.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
JOBS ?= auto
ENGINE := $(shell find ebsynth/CMakeLists.txt ebsynth/src ebsynth/include ebsynth/binding -type f)

.PHONY: demo test lint bench engine docs setup clean tools
.DELETE_ON_ERROR:

setup: $(INSTALLED)

# One line for each system tool that is missing, with the command that installs it.
tools:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "Python 3.11 or newer is needed: sudo apt-get install python3 (or name one: make PYTHON=python3.12)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "Python's venv is missing: sudo apt-get install python3-venv"; exit 1; }
	@command -v $${CXX:-c++} >/dev/null \
		|| { echo "A C++ compiler is missing: sudo apt-get install g++"; exit 1; }

# torch first, by its exact version: any other package would pull the newest one, with another CUDA. Where the package
# index offers a CPU build of it, this takes that one; elsewhere it is the CUDA build.
$(INSTALLED): pyproject.toml constraints.txt $(ENGINE) | tools
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[dev]'
	touch $@

engine: $(INSTALLED)
	$(BIN)/cmake -S ebsynth -B build/engine -G Ninja -DCMAKE_BUILD_TYPE=Release -DPython_EXECUTABLE=$(abspath $(BIN)/python) -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja)
	$(BIN)/cmake --build build/engine

demo: $(INSTALLED)
	$(BIN)/python -m demo.material
	$(BIN)/python run_DiffSynth.py config/demo.json

test: $(INSTALLED)
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --cov --cov-report=term:skip-covered

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(INSTALLED)
	$(BIN)/python benchmarks/transcode.py

# Pages and schemas that are made from the code; tests fail where they are not current.
docs: $(INSTALLED)
	$(BIN)/diffsynth schema > config/schema.json
	$(BIN)/diffsynth schema --markdown > docs/config.md

clean:
	rm -rf $(VENV) build
