# You need Python >= 3.11, git and make. Everything else is installed into .venv.

PYTHON ?= python3
BIN := .venv/bin
UV := .tools/bin/uv
# Bytecode is compiled at installation. This halves the time that each later start needs to import torch and Lightning.
export UV_COMPILE_BYTECODE := 1
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup quickstart test test-slow test-slurm test-lowest test-real lint docs schema tensorboard benchmark lock clean

setup: .venv/ready  ## install the tested set of packages into .venv, checked by hash

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("error: Python 3.11 or later is needed, found " + sys.version.split()[0] + ": set PYTHON=..." if sys.version_info < (3, 11) else 0)'
	test -x $(UV) || { $(PYTHON) -m venv .tools && .tools/bin/pip install --quiet uv; }
	test -x $(BIN)/python || $(UV) venv --quiet --seed --python $(PYTHON) .venv  # with pip, which adds extras
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

# One thread: batches of 32 are not faster with two, and two threads are very slow beside another busy process.
quickstart: setup  ## an experiment without downloads: four arms, three seeds, a report
	OMP_NUM_THREADS=1 $(BIN)/python -m aetransfer.train -m experiment=quickstart transfer=scratch,random_frozen,frozen,finetune seed=0,1,2 launcher=joblib hydra.launcher.n_jobs=2

test: setup  ## the tests that each change must pass; at most ten minutes on two cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto

# Tests of one file run one after another, because they share a full disk or ports.
test-slow: setup  ## tests of killed runs, several processes and random input; half an hour on two cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow --numprocesses auto --dist loadfile

test-slurm: setup  ## tests on a Slurm of one node, which they start; needs root and slurm-wlm
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slurm

# Indirect dependencies are the newest that fit. Needs six gigabytes; the tests take two minutes on an idle machine.
test-lowest: .venv-lowest/ready  ## short tests with the lowest versions that pyproject.toml allows, in .venv-lowest
	OMP_NUM_THREADS=1 timeout 900 .venv-lowest/bin/python -m pytest -m short

.venv-lowest/ready: pyproject.toml
	test -x $(UV) || { $(PYTHON) -m venv .tools && .tools/bin/pip install --quiet uv; }
	test -x .venv-lowest/bin/python || $(UV) venv --quiet --python $(PYTHON) .venv-lowest
	$(UV) pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct --requirements pyproject.toml --extra dev
	$(UV) pip install --quiet --python .venv-lowest/bin/python --no-deps --no-build-isolation --editable .
	touch $@

test-real: setup  ## tests on the real MNIST and CIFAR-10, in AETRANSFER_TEST_DATA=DIR
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m real

lint: setup
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

docs: setup  ## build docs/ as a site, in site/
	$(BIN)/python -m mkdocs build --quiet

schema: setup  ## write configs/schema.json, with which editors check YAML files
	$(BIN)/python scripts/config_schema.py

tensorboard: setup  ## show all runs, or with SWEEP=... those of one sweep
	$(BIN)/python scripts/board.py $(SWEEP)

benchmark: setup
	$(BIN)/python benchmarks/data_path.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/training_loop.py
	$(BIN)/python benchmarks/sweep.py

lock:  ## resolve the tested set of packages again, with hashes and without the name of an index
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--custom-compile-command 'make lock' --constraint tested.txt --extra dev --output-file requirements.lock pyproject.toml

clean:
	rm -rf .venv .venv-lowest .tools outputs site
