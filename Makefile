# Everything runs in .venv, which `make setup` fills with the versions of requirements.lock.
# Needs: make, python3 >= 3.11 with its venv module. `make interop` also needs go.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup lint test torture simulate demo demo-serve interop bench bench-full fuzz mutate lock clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
CODE := $(wildcard tlog tools server tests bench demo interop fuzz simulate)

# A newer versioned interpreter stands in where plain python3 is too old or has no ensurepip (Debian's python3-venv).
FIND_PYTHON := recent=; for python in python3 python3.13 python3.12 python3.11; do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    recent="$$python"; \
	    if "$$python" -c 'import ensurepip, venv' 2>/dev/null; then break; fi; \
	  fi; \
	  python=; \
	done; \
	if [ -z "$$python" ] && [ -n "$$recent" ]; then \
	  echo "make: $$recent cannot create virtual environments; on Debian or Ubuntu: apt install python3-venv" >&2; exit 1; \
	elif [ -z "$$python" ]; then \
	  echo "make: Python 3.11 or newer is needed, as python3, python3.13, python3.12 or python3.11" >&2; exit 1; \
	fi

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | while IFS="$$(printf '\t')" read -r name text; do \
	  printf 'make %-10s  %s\n' "$$name" "$$text"; done

setup: $(STAMP)  ## create .venv and install tlog into it

$(STAMP): pyproject.toml requirements.lock
	@$(FIND_PYTHON); echo "creating $(VENV) with $$("$$python" --version) ..."; "$$python" -m venv $(VENV)
	@$(PIP) install --requirement requirements.lock
	@$(PIP) install --no-build-isolation --constraint requirements.lock --editable '.[dev,server]'
	@touch $@

lint: $(STAMP)  ## ruff check, ruff format --check, mypy --strict
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy --strict $(CODE)

test: $(STAMP)  ## run the tests
	$(BIN)/pytest --quiet --numprocesses auto

torture: $(STAMP)  ## power loss, failing disks, killed processes and load, in full; `make test` has a sample of it
	$(BIN)/python -m tests.torture.run

simulate: $(STAMP)  ## simulate the witness network, SEEDS=2000 of them; `make test` has 100
	$(BIN)/python -m simulate --seeds $(or $(SEEDS),2000)

demo: $(STAMP)  ## the whole way of an event, on real input
	@$(BIN)/python demo/demo.py

demo-serve: $(STAMP)  ## the same, and then its ledger in the browser, at TLOG_BIND=127.0.0.1:8000
	@$(BIN)/python -m demo.serve

interop: $(STAMP)  ## check exports, proofs, the running server and witnesses with programs in Go that others wrote
	@if command -v go >/dev/null 2>&1; then \
	  $(BIN)/python -m interop.run; \
	else \
	  echo "interop: skipped, there is no go on this machine"; \
	fi

# The benchmark has an environment of its own: it needs other logs, which nobody else does.
# Peers that this Python cannot have are left out; the table says which. OUTPUT=FILE.md keeps the results, with plots.
BENCH := .venv-bench
BENCH_STAMP := $(BENCH)/.installed
BENCH_PIP := $(BENCH)/bin/python -m pip --quiet --disable-pip-version-check
BENCH_RUN = $(BENCH)/bin/python -m bench $(1) $(if $(OUTPUT),--output "$(OUTPUT)") && \
  $(if $(OUTPUT),$(BENCH)/bin/python -m bench.plot "$(OUTPUT:.md=.json)",:)

$(BENCH_STAMP): pyproject.toml requirements.lock bench/constraints.txt
	@$(FIND_PYTHON); echo "creating $(BENCH) with $$("$$python" --version) ..."; "$$python" -m venv $(BENCH)
	@$(BENCH_PIP) install --constraint requirements.lock hatchling
	@$(BENCH_PIP) install --no-build-isolation --constraint requirements.lock --editable '.[server]'
	@for name in pymerkle tlog-scales matplotlib; do \
	  $(BENCH_PIP) install --constraint requirements.lock --constraint bench/constraints.txt "$$name" || \
	    echo "bench: there is no $$name for this Python here; the results will say so"; \
	done
	@touch $@

bench: $(BENCH_STAMP)  ## measure against the references, in 10 minutes; OUTPUT=FILE.md keeps the results
	@$(call BENCH_RUN,)

bench-full: $(BENCH_STAMP)  ## the same with 10^7 entries, in up to an hour
	@$(call BENCH_RUN,--full)

# The fuzzer and the mutation tester have an environment of their own. tlog itself is not installed there: the fuzzer
# runs it from the sources, the mutation tester from a copy below build/, where it keeps what it has tried.
FUZZ := .venv-fuzz
FUZZ_STAMP := $(FUZZ)/.installed
FUZZ_PIP := $(FUZZ)/bin/python -m pip --quiet --disable-pip-version-check
FUZZ_SECONDS := 60
MUTATE := build/mutate

$(FUZZ_STAMP): requirements.lock fuzz/constraints.txt
	@$(FIND_PYTHON); echo "creating $(FUZZ) with $$("$$python" --version) ..."; "$$python" -m venv $(FUZZ)
	@$(FUZZ_PIP) install --requirement requirements.lock
	@$(FUZZ_PIP) install --constraint requirements.lock --constraint fuzz/constraints.txt atheris mutmut
	@touch $@

fuzz: $(FUZZ_STAMP)  ## fuzz every parser, FUZZ_SECONDS=60 each; inputs that show a bug are kept in build/fuzz
	@$(FUZZ)/bin/python -m fuzz.run --seconds $(FUZZ_SECONDS) $(TARGETS)

mutate: $(FUZZ_STAMP)  ## mutation testing of layers 0 to 4, for hours; MUTANTS='tlog.proof*' tries these only
	@mkdir -p $(MUTATE)
	@cp -R tlog tests tools testdata fuzz docs README.md pyproject.toml $(MUTATE)
	@cd $(MUTATE) && ulimit -v 3000000 && $(CURDIR)/$(FUZZ)/bin/mutmut run --max-children 1 $(MUTANTS)
	@$(FUZZ)/bin/python -m fuzz.mutants $(MUTATE)

lock:  ## renew requirements.lock with the newest versions that pyproject.toml allows
	@$(FIND_PYTHON); scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && "$$python" -m venv "$$scratch" && \
	  "$$scratch/bin/python" -m pip --quiet --disable-pip-version-check install --editable '.[dev,server]' && \
	  { sed '/^[^#]/,$$d' requirements.lock; "$$scratch/bin/python" -m pip freeze --exclude-editable; } >"$$scratch/lock" && \
	  cp "$$scratch/lock" requirements.lock

clean:  ## remove .venv, caches and what the demo wrote
	rm -rf $(VENV) $(BENCH) $(FUZZ) .mypy_cache .pytest_cache .ruff_cache .hypothesis build demo/out dist
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
