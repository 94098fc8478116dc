# Everything runs in .venv, which is made from the hashed lock on first use. Needs Python 3.11+, make and git.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
READY := .venv/.ready
CODE = $(foreach folder,src tests examples graphs benchmarks docs/site,$(if $(wildcard $(folder)/*),$(folder)))

.DEFAULT_GOAL := help
.PHONY: help demo test check bench docs lock clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

demo: $(READY) ## Run an agent under a small budget and watch it land (no API key needed)
	$(BIN)/budgeted-agents demo

test: $(READY) ## Run every test, on all cores
	$(BIN)/python -m pytest -n auto --dist worksteal

check: $(READY) ## Lint, format, types, and who may import whom
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy $(CODE)
	$(BIN)/lint-imports

bench: $(READY) ## Run every benchmark, one after the other
	@missed=; for script in $(notdir $(basename $(wildcard benchmarks/*.py))); do \
		echo "== $$script"; $(BIN)/python -m benchmarks.$$script || missed="$$missed $$script"; \
	done; test -z "$$missed" || { echo "Goal missed:$$missed"; exit 1; }

docs: $(READY) ## Make a site of the documentation in dist/docs, with a reference of the Python API
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -c docs/site docs dist/docs
	@echo "Open dist/docs/index.html"

lock: $(READY) ## Resolve the newest versions into requirements/dev.lock
	$(BIN)/uv pip compile pyproject.toml --group dev --upgrade --quiet --universal --python-version 3.11 \
		--generate-hashes --no-strip-extras --no-annotate --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock" --output-file requirements/dev.lock > /dev/null

clean: ## Remove the environment, caches and builds
	rm -rf .venv dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

# The lock is complete, so nothing is left to resolve; pip check confirms that.
$(READY): requirements/dev.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install --no-deps --require-hashes -r requirements/dev.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	$(PIP) check
	@touch $@
