# Two commands matter to a reader: `make lab` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
BIN := .venv/bin
CH ?=
LAB_ARGS ?=
# One thread for each process: the checks run two at a time, and sums come out alike on every machine.
THREADS := OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} PYDEVD_DISABLE_FILE_VALIDATION=1 JUPYTER_PLATFORM_DIRS=1
section = @printf '\n=== %s ===\n' "$(1)"

.PHONY: help lab test env export book text sync docs bench gpu hooks clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

lab: .venv/.book ## open the book in JupyterLab
	@$(BIN)/nbdev_trust --fname nbs >/dev/null 2>&1 || true
	@$(BIN)/jupyter lab --config=tools/lab/config.py $(LAB_ARGS)

test: .venv/.test ## everything that is checked: packages, export, every notebook, pytest, the browser
	$(call section,the environment is consistent)
	@$(BIN)/python -m pip check
	$(call section,the package is what the notebooks export)
	@$(BIN)/python tools/book.py exported
	$(call section,every notebook runs)
	@$(THREADS) $(BIN)/nbdev_test --n_workers 2 --timing
	$(call section,tests)
	@$(THREADS) $(BIN)/python -m pytest -n 2 -q -rs tests
	$(call section,the engine's tests once more with the kernels off)
	@$(THREADS) DLFS_KERNELS=array $(BIN)/python -m pytest -n 2 -q tests/test_ops.py tests/test_engine.py tests/test_nn.py tests/test_optim.py tests/test_attention.py

book: .venv/.test ## run every chapter in a fresh kernel, in place; CH=11 for one
	@$(BIN)/python tools/book.py run $(CH)

text: .venv/.book ## write each notebook's text twin (py:percent), for editing; CH=11 for one
	@$(BIN)/python tools/book.py text $(CH)

sync: .venv/.book ## carry edits from twins to notebooks and back; outputs of unchanged cells stay
	@$(BIN)/python tools/book.py sync $(CH)

export: .venv/.book ## write dlfs/ from the notebooks
	@$(BIN)/nbdev_export

docs: .venv/.book ## render the site to _docs/ (needs Quarto)
	@command -v quarto >/dev/null || { echo "make docs needs Quarto 1.7 or newer: get it from https://quarto.org/docs/get-started/ and run this again."; exit 1; }
	@$(BIN)/nbdev_docs
	@echo "The site is in _docs/index.html"

bench: .venv/.test ## time dlfs beside PyTorch
	@$(BIN)/python bench/run.py

gpu: ## the tests that need a CUDA device, from a bare checkout: with .venv's Python, or else the machine's own
	@if [ -x $(BIN)/python ]; then py=$(BIN)/python; else py=python3; fi; PYTHONPATH=. $$py -m pytest tests -m gpu

hooks: .venv/.book ## notebook-aware git diff and merge in this clone (undo: git config --local --unset include.path)
	@git config --local include.path ../.gitconfig
	@hook="$$(git rev-parse --git-path hooks)/post-merge"; mkdir -p "$$(dirname "$$hook")"; \
	if [ ! -e "$$hook" ]; then printf '#!/bin/sh\n.venv/bin/nbdev_trust\n' > "$$hook"; chmod +x "$$hook"; fi
	@echo "git diff shows notebooks as text, git merge joins them by cell, and merged notebooks are trusted. JupyterLab from 'make lab' saves them clean."

clean: ## remove what was built; twins, .venv and the cache of C kernels stay
	@rm -rf _proc _docs .quarto build dlfs.egg-info .pytest_cache .hypothesis nbs/nbdev.yml
	@find . -path ./.venv -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -print0 | xargs -0 rm -rf

env: .venv/.test

# --- the environment: built once, and again only when what it is built from changes

.venv/bin/python:
	@found=""; for p in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	  if command -v "$$p" >/dev/null && "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then found="$$p"; break; fi; done; \
	if [ -z "$$found" ]; then echo "This book needs Python 3.11 or newer; here is $$(python3 --version 2>&1 || echo none). Get one from https://www.python.org/downloads/, or name yours: make lab PYTHON=/path/to/python3.12"; exit 1; fi; \
	"$$found" -m venv .venv || { rm -rf .venv; echo "$$found cannot make virtual environments. On Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }

.venv/.book: constraints.txt pyproject.toml | .venv/bin/python
	$(call section,installing what the book needs into .venv (once))
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[book]'
	@touch $@

# PyTorch is a peer in tests only, and a processor's build of it is enough: a tenth of the default one's size on Linux.
.venv/.test: constraints.txt pyproject.toml | .venv/.book
	$(call section,installing what the tests need into .venv (once))
	@if [ "$$(uname)" = Linux ] && ! $(BIN)/python -c 'import torch' 2>/dev/null; then \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --retries 1 --no-deps -c constraints.txt --extra-index-url https://download.pytorch.org/whl/cpu torch || true; fi
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[book,test]'
	@touch $@
