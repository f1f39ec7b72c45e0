# Each target sets up what it needs: `make demo` and `make test` work alone in a fresh clone.
PYTHON ?= python3
CORES ?= 2
UV_VERSION := 0.13.8
BIN := .venv/bin
READY := .venv/.ready
UV := .uv/bin/uv

# Programs that start a hundred times shall not compile their modules each time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test types tests test-slurm lint lock clean

help:  ## say what the targets do
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY)  ## make .venv with everything, at the versions of requirements.lock

$(UV):
	$(PYTHON) -c 'import sys; sys.exit("hepcnn needs Python 3.11 to 3.13, this is " + sys.version.split()[0]) if not (3, 11) <= sys.version_info[:2] < (3, 14) else None'
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(READY): requirements.lock pyproject.toml | $(UV)
	test -x $(BIN)/python || $(UV) venv --quiet --python $(PYTHON) .venv
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps -e .
	touch $@

demo: $(READY)  ## the main job: generate, convert, train, evaluate, report
	$(BIN)/snakemake --cores $(CORES)
	@echo "open results/demo/report.html"

test: $(READY)  ## style, types, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(MAKE) --no-print-directory -j 2 types tests

# Together, since mypy keeps one processor busy; each can be asked for alone.
types: $(READY)
	$(BIN)/mypy

tests: $(READY)
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n $(CORES) --dist loadfile --no-loadscope-reorder

test-slurm: $(READY)  ## the tests on a real Slurm of one machine, installed by apt and started as root
	HEPCNN_TEST_SLURM=1 OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest tests/batch

lint: $(READY)  ## mend style where a program can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

lock: | $(UV)  ## resolve the dependencies anew
	$(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 --extra dev -o requirements.lock pyproject.toml

clean:  ## delete results and environments
	rm -rf .venv .uv results .snakemake
