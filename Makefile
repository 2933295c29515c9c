# Every target creates .venv when it is missing and installs again only when pyproject.toml or constraints.txt changed.
# Written for GNU make 3.81, which macOS ships, as well as newer ones. `make` alone prints what there is.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXTRAS := book,test,lint
PYTEST_ARGS ?=

# IPython warns when another environment than its own is activated; the one in $(VENV) needs no activation.
unexport VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help venv book test test-browser lab bench lint gpu-check clean distclean

help:
	@echo "make book       build the book into _build/html; every notebook is executed"
	@echo "make test       unit tests, then every notebook"
	@echo "make test-browser  the widgets, in the built book and in JupyterLab, by Chromium (Debian: apt install chromium)"
	@echo "make lab        open JupyterLab in notebooks/"
	@echo "make bench      run the measurements in benchmarks/"
	@echo "make lint       ruff, mypy, import-linter, codespell, nbstripout"
	@echo "make gpu-check  run the tests that need a GPU and print a table"
	@echo "make clean      forget the built book and all caches; distclean forgets .venv too"
	@echo "PYTHON=python3.12 make book   chooses the Python that .venv is made with (3.11 to 3.13)"

venv: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
	  echo "This course needs Python 3.11, 3.12 or 3.13; '$(PYTHON)' is `$(PYTHON) --version 2>&1`."; \
	  echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	  echo "'$(PYTHON) -m venv' failed. On Debian and Ubuntu: apt install python3-venv"; rm -rf $(VENV); exit 1; }
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --upgrade "pip>=24"
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e ".[$(EXTRAS)]"
	@touch $(STAMP)

# A failed build forgets the parsed pages (not the executed notebooks): Sphinx would not repeat their warnings.
book: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/jupyter-book build book/ -W -n --keep-going || { rm -rf _build/.doctrees; exit 1; }
	@echo "The book: file://$(CURDIR)/_build/html/index.html"

test: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest --nbmake $(PYTEST_ARGS)

test-browser: book
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -m browser tests/browser $(PYTEST_ARGS)

lab: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/jupyter lab notebooks/

bench: $(STAMP)
	@for file in benchmarks/[a-z]*.py; do \
	  test "$$file" != benchmarks/side_by_side.py || continue; \
	  echo "== $$file"; $(BIN)/python "$$file" || exit 1; \
	done

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/nbstripout --verify --keep-id notebooks/*.ipynb

gpu-check: $(STAMP)
	$(BIN)/python -m pytest -m gpu --gpu-table tests || test $$? -eq 5  # 5: there was no such test

clean:
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build *.egg-info
	find . -name __pycache__ -type d -not -path "./.venv/*" -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
