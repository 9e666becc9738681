# Everything from a fresh clone, with Python 3.11+ and make alone.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
# Each worker of the cluster tests has a kube-apiserver of its own.
CLUSTER_WORKERS ?= 2

.PHONY: help demo test check museum prove test-cluster mutants bench format clean
help:  ## list these commands
	@sed -n 's/^\([a-z-]*\):.*##/  make \1  \t/p' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "captep needs Python 3.11 or newer; set PYTHON=..., found " + sys.version.split()[0])'
	@echo "setting up .venv (once, about a minute)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable . --group dev
	@touch $(READY)

demo: $(READY)  ## run the loop before CAPTEP-0016, its intervals alone, and captep, and compare them
	@$(BIN)/captep demo

test: $(READY)  ## run every test that needs no cluster
	@$(BIN)/python -m pytest -n auto

check: $(READY)  ## check format, lint, types, layers and words, and run the tests with coverage of the core
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest -n auto --cov --cov-fail-under=100 tests/core tests/capt
	@$(BIN)/python -m pytest -n auto --ignore tests/core --ignore tests/capt

museum: $(READY)  ## print the kill matrix of the convergence kit: which level finds which mistake
	@$(BIN)/python -m tests.testing.matrix

prove: $(READY)  ## search our core with two faults and one event; goes on after Ctrl-C
	@$(BIN)/python -m tests.testing.prove .prove

test-cluster: $(READY)  ## run the tests against a real kube-apiserver and etcd (from KUBEBUILDER_ASSETS, else built once with Go)
	@assets=$${KUBEBUILDER_ASSETS:-$$(tests/apiserver/build)} && KUBEBUILDER_ASSETS=$$assets $(BIN)/python -m pytest -m cluster -n $(CLUSTER_WORKERS) --dist loadfile

mutants: $(READY)  ## list the changes to the core that no test of the core notices (mutmut, 20 minutes)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --group mutation
	@$(BIN)/mutmut run && $(BIN)/mutmut results

bench: $(READY)  ## add what is missing to tests/benchmarks/report (with KUBEBUILDER_ASSETS also fleets on a real kube-apiserver)
	@$(BIN)/python -m tests.benchmarks.report

format: $(READY)  ## format the code and fix what the linter can fix
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean:  ## remove the environment, caches and builds
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage build dist mutants
