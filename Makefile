# Everything is installed into .venv of this folder; nothing outside it is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test test-cluster lint lock clean

help:
	@echo "make demo      install everything into $(VENV), create the demo data, train on it"
	@echo "make test      the tests (ARGS='-k device -x' reaches pytest)"
	@echo "make test-cluster   the tests on a real Slurm, which is installed where that can be done"
	@echo "make lint      ruff, mypy and the import contracts"
	@echo "make install   only the installation"
	@echo "make lock      resolve requirements.lock again"
	@echo "make clean     remove $(VENV) and the caches; runs and data stay"
	@echo
	@echo "With another Python than python3 (3.10 to 3.13): make PYTHON=/path/to/python3.12 ..."

install: $(INSTALLED)

# Not the whole folder: importing the backend touches its __pycache__.
$(INSTALLED): requirements.lock pyproject.toml setup.py scripts/install.sh \
  $(wildcard scripts/detectron2/*.py scripts/detectron2/*.toml scripts/detectron2/*.txt)
	@sh scripts/install.sh "$(PYTHON)" "$(VENV)"
	@touch $@

demo: $(INSTALLED)
	@test -d datasets/demo || $(BIN)/launcher data demo datasets/demo
	@$(BIN)/launcher train experiment=demo dataset.root=datasets

test: $(INSTALLED)
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal -m "not cluster" $(ARGS)

# Not among the other tests: together they take minutes, and install Debian's Slurm. Those that take minutes each are
# trials of scripts/reliability/run.py slurm.
test-cluster: $(INSTALLED)
	@sh scripts/slurm/install.sh
	@$(BIN)/python -m pytest -q -rs -m 'cluster and not minutes' tests/cluster $(ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# One lock for Python 3.10 to 3.13 on Linux and macOS. It names no index: everyone's own configuration decides.
lock: $(INSTALLED)
	@$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url \
	  --custom-compile-command "make lock" --extra demo --extra dev --upgrade \
	  --output-file requirements.lock pyproject.toml scripts/detectron2/requirements.txt

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build dist *.egg-info
