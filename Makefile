# A fresh machine needs Python >= 3.11, git and make; everything else is installed into .venv.

PYTHON ?= python3
BIN := .venv/bin
UV := .tools/bin/uv
# Compiling bytecode once at install halves the seconds that every later start spends importing torch and Lightning.
export UV_COMPILE_BYTECODE := 1
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup quickstart test test-slow test-slurm test-lowest test-real lint docs schema tensorboard benchmark lock clean

setup: .venv/ready  ## make the environment: the tested set of packages, by hash

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("error: Python 3.11 or later is needed, found " + sys.version.split()[0] + ": set PYTHON=..." if sys.version_info < (3, 11) else 0)'
	test -x $(UV) || { $(PYTHON) -m venv .tools && .tools/bin/pip install --quiet uv; }
	test -x $(BIN)/python || $(UV) venv --quiet --seed --python $(PYTHON) .venv  # with pip, which adds extras
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

# One thread: batches of 32 gain nothing from a second, and two that wait for each other crawl beside any other process.
quickstart: setup  ## the main job on embedded data: four arms, three seeds, a table
	OMP_NUM_THREADS=1 $(BIN)/python -m aetransfer.train -m experiment=quickstart transfer=scratch,random_frozen,frozen,finetune seed=0,1,2 launcher=joblib hydra.launcher.n_jobs=2

test: setup  ## what a change must pass before anything else; at most ten minutes on two cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto

# Those of one file wait for each other: they share a disk that is full, or ports.
test-slow: setup  ## runs that are killed, processes that work together, the fuzz: half an hour on two cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow --numprocesses auto --dist loadfile

test-slurm: setup  ## on a Slurm of one node, which they start: as root, with slurm-wlm installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slurm

# Packages that only others ask for are the newest that fit. Six gigabytes; the tests take two minutes on a quiet machine.
test-lowest: .venv-lowest/ready  ## the lower bounds of pyproject.toml, in an environment of their own
	OMP_NUM_THREADS=1 timeout 900 .venv-lowest/bin/python -m pytest -m short

.venv-lowest/ready: pyproject.toml
	test -x $(UV) || { $(PYTHON) -m venv .tools && .tools/bin/pip install --quiet uv; }
	test -x .venv-lowest/bin/python || $(UV) venv --quiet --python $(PYTHON) .venv-lowest
	$(UV) pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct --requirements pyproject.toml --extra dev
	$(UV) pip install --quiet --python .venv-lowest/bin/python --no-deps --no-build-isolation --editable .
	touch $@

test-real: setup  ## with AETRANSFER_TEST_DATA=DIR, which holds the real MNIST and CIFAR-10
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m real

lint: setup
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

docs: setup  ## as a site, in site/
	$(BIN)/python -m mkdocs build --quiet

schema: setup  ## configs/schema.json, by which editors check YAML files
	$(BIN)/python scripts/config_schema.py

tensorboard: setup  ## look at all runs, or with SWEEP=... at those of one sweep
	$(BIN)/python scripts/board.py $(SWEEP)

benchmark: setup
	$(BIN)/python benchmarks/data_path.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/training_loop.py
	$(BIN)/python benchmarks/sweep.py

lock:  ## resolve the tested set anew; hashes, and no registry's name
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--custom-compile-command 'make lock' --constraint tested.txt --extra dev --output-file requirements.lock pyproject.toml

clean:
	rm -rf .venv .venv-lowest .tools outputs site
