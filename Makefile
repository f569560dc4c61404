# Conversation Assistant. `make help` says what there is.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# What is installed: cpu or gpu, as deploy/install.sh wrote down, or nothing.
INSTALLED := $(shell cat .venv/.installed 2>/dev/null)
# What the machine has: cpu, or gpu for a CUDA machine. Without a word what is installed stays.
ACCELERATOR ?= $(or $(INSTALLED),cpu)
PYTHON := .venv/bin/python
# Without its bytecode kept, vLLM takes twice as long to import, in every process.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | while IFS=$$'\t' read -r target what; do printf '  make %-14s %s\n' "$$target" "$$what"; done

.PHONY: another-kind
.venv/.installed: pyproject.toml clients/python/pyproject.toml deploy/install.sh deploy/locks/$(ACCELERATOR).txt $(if $(filter $(ACCELERATOR),$(INSTALLED)),,another-kind)
	@bash deploy/install.sh $(ACCELERATOR)

.PHONY: install
install: .venv/.installed ## make the virtual environment and install everything

.PHONY: run
run: .venv/.installed ## start everything on this machine; Ctrl-C stops it; HTTPS=1 lets phones of this network in
	@exec $(PYTHON) -m deploy.local

.PHONY: pair
pair: .venv/.installed ## announce a device where registration is closed: make pair ARGS="--name Phone --platform ios"
	@exec $(PYTHON) -m deploy.local.pair $(ARGS)

.PHONY: backup
backup: .venv/.installed ## what make run keeps, as one file: make backup FILE=assistant.tar
	@exec $(PYTHON) -m deploy.local.backup backup $(FILE) $(ARGS)

.PHONY: restore
restore: .venv/.installed ## the same the other way: make restore FILE=assistant.tar
	@exec $(PYTHON) -m deploy.local.backup restore $(FILE) $(ARGS)

.PHONY: demo
demo: .venv/.installed ## tell the whole story against what runs, or starting it
	@exec $(PYTHON) -m deploy.local.demo

.PHONY: demo-learning
demo-learning: .venv/.installed ## train a personal adapter from the sample history and show drafts before and after
	@exec $(PYTHON) -m deploy.local.demo_learning

.PHONY: test
test: .venv/.installed ## run the suite on real servers and the real engine
	@exec $(PYTHON) -m pytest $(ARGS)

.venv-gateway/.installed: pyproject.toml clients/python/pyproject.toml deploy/install.sh deploy/locks/gateway-dev.txt
	@bash deploy/install.sh gateway-dev

.PHONY: test-gateway
test-gateway: .venv-gateway/.installed ## run the gateway's and the client library's tests, from an environment without the model's libraries
	@exec .venv-gateway/bin/python -m pytest -n 4 --dist worksteal -m "not slow and not browser" tests/gateway tests/clients tests/test_*.py $(ARGS)

.PHONY: test-console
test-console: .venv-gateway/.installed ## run the console's tests in a real browser, from the same environment
	@exec .venv-gateway/bin/python -m pytest -n 2 --dist worksteal -m "browser and not slow" tests/gateway/console $(ARGS)

.PHONY: coverage
coverage: .venv-gateway/.installed ## which lines of gateway/ and shared/ no test of the gateway runs; .coverage/index.html shows them
	@rm -rf .coverage; mkdir .coverage
	@.venv-gateway/bin/coverage run -m pytest -n 2 --dist worksteal tests/gateway tests/test_*.py $(ARGS)
	@.venv-gateway/bin/coverage combine --quiet
	@.venv-gateway/bin/coverage html --quiet
	@exec .venv-gateway/bin/coverage report

.PHONY: test-slow
test-slow: .venv/.installed ## run what takes too long for the suite: the same at full length
	@exec $(PYTHON) -m pytest -m slow $(ARGS)

.PHONY: check
check: .venv/.installed ## style, types, and who imports whom
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

.PHONY: format
format: .venv/.installed ## lay the code out and mend what can be mended by rule
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

.PHONY: bench
bench: .venv/.installed ## measure against the raw limits; the table and .benchmarks/latest.json
	@exec $(PYTHON) -m tests.benchmarks $(ARGS)

.PHONY: test-docker
test-docker: .venv/.installed ## build the images, run the compose stack, kill each part: needs a Docker engine with compose
	@for image in postgres:18 valkey/valkey:9; do docker image inspect $$image >/dev/null 2>&1 || docker pull --quiet $$image; done
	@trap 'rm -f .env.build' EXIT; echo COMPOSE_PROFILES=cpu >.env.build; docker compose --env-file .env.build build
	@exec $(PYTHON) -m pytest -s tests/docker $(ARGS)

.PHONY: test-gpu
test-gpu: .venv/.installed ## what a CUDA machine must show, with figures: make test-gpu ACCELERATOR=gpu
	@exec $(PYTHON) -m pytest -s --durations=0 tests/gpu $(ARGS)

.PHONY: load
load: .venv/.installed ## a mixed day of many devices, squeezed into minutes: make load MINUTES=5
	@exec $(PYTHON) -m tests.load $(or $(MINUTES),5) $(ARGS)

.PHONY: simulate
simulate: .venv/.installed ## how large it gets, and what is full first: make simulate ARGS="--accounts 5000"
	@exec $(PYTHON) -m deploy.simulate $(ARGS)

.PHONY: soak
soak: .venv/.installed ## load everything and kill each part at random: make soak MINUTES=20
	@exec $(PYTHON) -m tests.soak $(or $(MINUTES),20) $(ARGS)

.PHONY: migration
migration: .venv/.installed ## write a migration from what changed in the tables: make migration NAME="what it does"
	@exec $(PYTHON) -m deploy.local.migration "$(NAME)"

.PHONY: vendor
vendor: .venv/.installed ## fetch the browser modules of the console anew, as deploy/vendor.py names them; needs npm
	@exec $(PYTHON) -m deploy.vendor

.PHONY: docs
docs: .venv/.installed ## write docs/CONFIGURATION.md and the list of decisions anew
	@exec $(PYTHON) -m deploy.docs

.PHONY: lock
lock: .venv/.installed ## write the lock files anew from pyproject.toml
	@bash deploy/lock.sh

.PHONY: sbom
sbom: .venv/.installed ## what is in each lock, as CycloneDX: .sbom/*.json
	@mkdir -p .sbom
	@for lock in gateway cpu gpu; do .uv/bin/uv tool run --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py requirements deploy/locks/$$lock.txt --output-format JSON --output-file .sbom/$$lock.json; done
	@ls -l .sbom

.PHONY: audit
audit: .venv/.installed ## which locked packages have known holes, as the package index knows them
	@for lock in gateway cpu gpu; do .uv/bin/uv tool run --quiet pip-audit==2.10.1 --disable-pip --require-hashes --requirement deploy/locks/$$lock.txt; done

.PHONY: clean
clean: ## remove the environment and caches (never .data)
	rm -rf .venv .venv-gateway .uv .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
