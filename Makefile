PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test check help
help:  ## what there is
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*## /\t/'

demo: $(VENV)/installed  ## set up, and make the example video
	$(BIN)/python scripts/infer.py

test: $(VENV)/installed-dev check  ## set up, check style, types and imports, and run all tests
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

check: $(VENV)/installed-dev  ## style, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	@$(BIN)/python -c 'import cv2' || { echo 'OpenCV needs two system libraries: apt-get install libgl1 libglib2.0-0'; exit 1; }
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) --editable '.[dev,faces,joblib,mlflow,optuna,ray,submitit,tensorboard]'
	touch $@
