# The commands of this project. Everything they make is in .venv, node_modules, .cache, docs/assets and site.

# Any Python 3.11, 3.12 or 3.13 starts the set-up; another one is named with `make site PYTHON=python3.12`.
FIND_PYTHON = for python in python3 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$python && break; done
CHOSEN := $(filter command environment,$(origin PYTHON))
BIN := .venv/bin
export NO_MKDOCS_2_WARNING := 1

help:
	@echo "make site    set up what is needed, compute the figures, build the site into site/"
	@echo "make serve   the same, served on this machine and rebuilt while you write"
	@echo "make test    lint, types and all tests, those in a real browser too"
	@echo "make lint    ruff and mypy alone"
	@echo "make bench   times and sizes, printed (ONLY=cell takes one: cold, warm, build, pages, cell, count, layer, train, lighthouse)"
	@echo "make mutants change the engine in small ways and count what its tests notice (ONLY=overflow takes one file)"
	@echo "make lock    resolve the versions in requirements.lock anew (UPGRADE=1: to the newest)"
	@echo "make clean   remove what was built; the installed packages and fetched files stay"

setup:
	@python="$(if $(CHOSEN),$(PYTHON),`$(FIND_PYTHON)`)"; \
	if [ -z "$$python" ]; then \
		echo "moedocs needs Python 3.11, 3.12 or 3.13, and none was found; install one, or name it: make PYTHON=/path/to/python3" >&2; \
		exit 1; \
	fi; \
	"$$python" -I bootstrap.py $(if $(CHOSEN),--python)

site: setup
	@$(BIN)/mkdocs build --strict
	@echo "The site is in site/. To look at it: python3 -m http.server --bind 127.0.0.1 --directory site 8000, then open http://127.0.0.1:8000/"

serve: setup
	@$(BIN)/mkdocs serve

test: lint
	@$(BIN)/python -m pytest

lint: setup
	@$(BIN)/ruff check
	@$(BIN)/mypy

bench: setup
	@$(BIN)/python -m tests.bench $(ONLY)

mutants: setup
	@$(BIN)/python -m tests.mutants $(ONLY)

lock: setup
	@$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --fork-strategy fewest \
		--generate-hashes --no-emit-package torch --no-header --no-annotate --quiet \
		$(if $(UPGRADE),--upgrade) --output-file requirements.lock

clean:
	@rm -rf site docs/assets .cache/assets .cache/mutants .cache/mypy .cache/ruff .cache/pytest

.PHONY: help setup site serve test lint bench mutants lock clean
