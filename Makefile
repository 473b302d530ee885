PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
EXTRAS = dev,docs,faces,joblib,mlflow,optuna,ray,submitit,tensorboard
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
# LOCKED=1 installs only the files listed in locks/, verified by SHA-256, on the platform named there.
ifdef LOCKED
HASHED = $(PIP) --require-hashes --no-deps --no-build-isolation --requirement
INSTALL = $(HASHED) locks/build.txt && $(HASHED) locks/run.txt && $(PIP) --no-deps --no-build-isolation --editable .
INSTALL_DEV = $(HASHED) locks/dev.txt
else
INSTALL = $(PIP) --constraint constraints.txt --editable .
INSTALL_DEV = $(PIP) --constraint constraints.txt --editable '.[$(EXTRAS)]'
endif

.PHONY: demo test check docs install help
help:  ## list the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*## /\t/'

demo: $(VENV)/installed  ## set up, and generate the example video
	$(BIN)/python scripts/infer.py

test: $(VENV)/installed-dev check docs  ## set up, check style, types and imports, build the documents, and run all tests
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

check: $(VENV)/installed-dev  ## check style, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/installed-dev  ## build the documents: outputs/docs/index.html
	$(BIN)/python -m sphinx --quiet --fresh-env --fail-on-warning --keep-going docs outputs/docs

install: $(VENV)/installed-dev  ## set up what make test needs

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL)
	@$(BIN)/python -c 'import cv2' || { echo 'OpenCV needs two system libraries: apt-get install libgl1 libglib2.0-0'; exit 1; }
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(INSTALL_DEV)
	touch $@
