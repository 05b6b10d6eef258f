# Two commands set up everything on a fresh machine:  make demo   and   make test
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: help demo test check docs format clean

help:
	@echo "make demo                 environment, install, then the main job end to end (about 10 minutes on 2 cores)"
	@echo "make demo VIDEOS=folder OUT=mine    the same on your own videos, into another folder than demo/"
	@echo "make test                 environment, install, all tests"
	@echo "make check                ruff and mypy"
	@echo "make docs                 the documentation as a site, in site/; a warning is an error"
	@echo "make format               let ruff rewrite the code"
	@echo "make clean                remove the environment, caches and demo/"

# torch goes first, at the pinned version, so that no other requirement chooses its build.
# The stamp changes when pyproject.toml or constraints.txt do, and the install is then repeated.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "kinevec needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Set PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $$(grep '^torch==' constraints.txt)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/kinevec demo $(if $(VIDEOS),--videos "$(VIDEOS)") $(if $(OUT),--out "$(OUT)")

test: $(VENV)/.installed
	$(BIN)/python -m pytest -n auto --dist loadfile

check: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(VENV)/.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: $(VENV)/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) demo site build dist .pytest_cache .mypy_cache .ruff_cache
