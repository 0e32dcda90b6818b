# Every target sets itself up in .venv; Python 3.11 and make are all that it needs. `make` alone lists the targets.
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: help demo test test-slow check docs bench wheelhouse lock clean

help:
	@echo "make demo    set up, then let five synthetic hospitals train one model together (SVM, then CNN)"
	@echo "make test    set up, then run all tests"
	@echo "make check   set up, then lint, type-check, and check the walls between the packages"
	@echo "make docs    set up, then build the pages of docs/ as a site in build/docs; a broken link fails"
	@echo "make bench   set up, then run every benchmark (long)"
	@echo "make wheelhouse  set up, then write one file from which a machine without a network installs all of it"
	@echo "make lock    write the locked dependencies again"

.venv/run: requirements.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Setting up .venv (TensorFlow is large; some minutes the first time) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

.venv/dev: requirements-dev.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Setting up .venv for development (some minutes the first time) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@ .venv/run

.venv/docs: requirements-docs.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-docs.lock
	@touch $@ .venv/run .venv/dev

.venv/bench: requirements-bench.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.lock
	@touch $@ .venv/run .venv/dev

demo: .venv/run
	@$(BIN)/python simulate.py configs/demo-svm.yaml
	@$(BIN)/python simulate.py configs/demo.yaml

test: .venv/dev
	@$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: .venv/dev
	@$(BIN)/python -m pytest -m slow -n 2 --dist loadfile

check: .venv/dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

docs: .venv/docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@echo "Built build/docs/index.html; it loads nothing from elsewhere."

bench: .venv/bench
	@for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

wheelhouse: .venv/run
	@sh packaging/wheelhouse.sh

lock: .venv/dev
	@for name in "" -dev -docs -bench; do \
	  case "$$name" in -dev) with="--extra dev";; -docs) with="--extra dev --extra docs";; -bench) with="--extra dev --extra bench --extra ray";; *) with="";; esac; \
	  $(BIN)/uv pip compile pyproject.toml $$with --universal --python-version 3.11 --generate-hashes \
	    --no-header --no-annotate --no-emit-index-url --quiet -o requirements$$name.lock; \
	done

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
