# One command per task. Everything installs into .venv; nothing outside this folder changes.

VENV := .venv
PYTHON := $(or $(shell command -v python3.13),$(shell uv python find 3.13 2>/dev/null),python3.13)
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export SAM_CLI_TELEMETRY := 0
# Python compiles each module once, even if a container's environment disables that. The bytecode stays out of the
# sources, and therefore out of packages.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX := $(CURDIR)/$(VENV)/bytecode

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the commands
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/installed: requirements/dev.txt pyproject.toml
	@$(PYTHON) --version >/dev/null 2>&1 || { echo "Python 3.13 is needed: 'pyenv install 3.13' or 'uv python install 3.13'." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --require-hashes --requirement requirements/dev.txt
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

# Apart: these tools want other versions of what the others use.
$(VENV)/audit/installed: requirements/audit.txt $(VENV)/installed
	$(VENV)/bin/uv venv --quiet --clear --python $(VENV)/bin/python $(VENV)/audit
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/audit/bin/python --require-hashes --requirement requirements/audit.txt
	@touch $@

$(VENV)/docs/installed: requirements/docs.txt $(VENV)/installed
	$(VENV)/bin/uv venv --quiet --clear --python $(VENV)/bin/python $(VENV)/docs
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/docs/bin/python --require-hashes --no-deps --requirement requirements/docs.txt
	@touch $@

# Beside the tools of `.venv`, which run the tests for it.
$(VENV)/mutation/installed: requirements/mutation.txt $(VENV)/installed
	rm -rf $(VENV)/mutation
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --target $(VENV)/mutation --require-hashes --requirement requirements/mutation.txt
	@touch $@

.PHONY: install
install: $(VENV)/installed ## Install the tools into .venv (the other commands do this when needed)

.PHONY: demo
demo: $(VENV)/installed ## Check every promise on this machine, one line each; for details: make demo VERBOSE=1
	@python -m local demo $(if $(VERBOSE),--verbose)

.PHONY: local
local: $(VENV)/installed ## Run the whole stack on this machine, with a page to watch it and commands to paste
	@python -m local serve

.PHONY: local-stop
local-stop: $(VENV)/installed ## Stop the stack that `make local` started
	@python -m local stop

ENV ?= dev
PREFIX ?= twilio/
API_URL ?= https://api.twilio.com

# The AWS CLI reads AWS_REGION; boto3 and SAM read only AWS_DEFAULT_REGION.
ifdef AWS_REGION
deploy secret doctor: export AWS_DEFAULT_REGION := $(AWS_REGION)
endif

.PHONY: deploy
deploy: $(VENV)/installed ## Build and deploy to your AWS account: make deploy ACCOUNT=AC... ENV=dev PARAMETERS="LogRetentionDays=30"
	@python -m operations.deploying --env "$(ENV)" --account "$(ACCOUNT)" $(PARAMETERS)

.PHONY: secret
secret: $(VENV)/installed ## Store the auth token of a Twilio account, which you enter at a prompt: make secret ACCOUNT=AC...
	@python -m operations.storing --prefix "$(PREFIX)" --api-url "$(API_URL)" "$(ACCOUNT)"

.PHONY: doctor
doctor: $(VENV)/installed ## Check a deployed stack, and say what is wrong and what to do: make doctor STACK=call-recording-dev
	@test -n "$(STACK)" || { echo "Which stack? make doctor STACK=call-recording-dev" >&2; exit 2; }
	@python -m operations.doctor "$(STACK)"

# End-to-end mostly waits, so the other checks run in parallel with it, one after the other. With make 4.0 or later, the
# output of each check appears when it has ended.
CHECKS := end-to-end lint types validate unit
IN_TURN := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

.PHONY: test
test: ## Run every check: lint, types, validate, unit and end-to-end
	@+$(MAKE) --no-print-directory --jobs=2 $(IN_TURN) $(CHECKS)
	@echo "Every check passed: $(CHECKS)."

.PHONY: lint
lint: $(VENV)/installed ## Check style, formatting, and what may import what
	ruff check .
	ruff format --check .
	lint-imports --no-logo --no-cache

.PHONY: types
types: $(VENV)/installed ## Check types
	mypy

.PHONY: validate
validate: $(VENV)/installed $(VENV)/audit/installed ## Check the templates (SAM, cfn-lint with the serverless rules, checkov) and the API's description
	sam validate --lint
	$(VENV)/audit/bin/openapi-spec-validator docs/reference/openapi.yaml
	$(VENV)/audit/bin/cfn-lint --append-rules cfn_lint_serverless.rules -- template.yaml $(wildcard examples/*/template.yaml)
	python -m local.expanded_template
	BC_SKIP_MAPPING=TRUE LOG_LEVEL=ERROR $(VENV)/audit/bin/checkov --config-file .checkov.yaml

.PHONY: audit
audit: $(VENV)/audit/installed ## Check every pinned dependency for known vulnerabilities (needs the Internet)
	$(VENV)/audit/bin/pip-audit --strict --disable-pip --require-hashes $(foreach file,$(PINNED),--requirement $(file))

PINNED := requirements/dev.txt requirements/audit.txt requirements/docs.txt requirements/mutation.txt layers/shared/requirements.txt functions/recording_status/requirements.txt

.PHONY: unit
unit: $(VENV)/installed $(VENV)/audit/installed $(VENV)/docs/installed ## Run the tests that need no local stack
	pytest --numprocesses=2 --dist=worksteal --ignore=tests/local_stack

# What would make `make test` long, or needs a machine that has nothing else to do.
LONG := tests/local_stack/test_operations_commands.py tests/local_stack/test_the_demo.py

.PHONY: end-to-end
end-to-end: $(VENV)/installed $(VENV)/audit/installed ## Build, deploy to the local stack and run the tests that need it
	pytest -rs tests/local_stack $(addprefix --ignore=,$(LONG))

.PHONY: operations
operations: $(VENV)/installed ## Run the commands of docs/how-to/operate and the rehearsals against the local stack (five minutes)
	pytest $(LONG)

SEEDS ?= 200
RECORDINGS ?= 10000
FIRST ?= 0

.PHONY: simulate
simulate: $(VENV)/installed ## Run the long simulation: make simulate SEEDS=200 RECORDINGS=10000 FIRST=0
	python -m tests.simulation --seeds $(SEEDS) --recordings $(RECORDINGS) --first $(FIRST)

FAULTS ?= 1

.PHONY: explore
explore: $(VENV)/installed ## Run every interleaving of two concurrent requests, up to a limit: make explore FAULTS=1
	python -m tests.exploration --faults $(FAULTS)

.PHONY: mutate
mutate: $(VENV)/mutation/installed ## Test the tests with small changes to the code, and write docs/reference/quality.md: make mutate MODULES="recordings/merge"
	@python -m tests.mutation $(MODULES)

.PHONY: scale
scale: $(VENV)/installed ## Model the stack at 1 to 1,000 recordings a second; write docs/explanation/scale.md and the costs
	@python -m tests.scale

ROUNDS ?= 30

.PHONY: bench
bench: $(VENV)/installed ## Measure against similar projects and write docs/reference/performance.md: make bench ROUNDS=30
	python -m tests.benchmarks --rounds $(ROUNDS)

.PHONY: format
format: $(VENV)/installed ## Format the code
	ruff format .
	ruff check --fix-only .

.PHONY: docs
docs: $(VENV)/docs/installed ## Build the documentation as a site that needs no network
	@python -m generators.reference >/dev/null
	@# Not --quiet: it hides warnings from --strict.
	@NO_MKDOCS_2_WARNING=1 $(VENV)/docs/bin/mkdocs build --strict
	@echo "Open .local/site/index.html"

.PHONY: reference
reference: $(VENV)/installed ## Regenerate the tables of docs/, and docs/reference/openapi.html: the API for a browser
	@python -m generators.tables
	@python -m generators.reference

.PHONY: events
events: $(VENV)/installed ## Regenerate the sample events
	python -m generators.sample_events

.PHONY: endpoints
endpoints: $(VENV)/installed ## Regenerate the list of AWS endpoints that the layer ships, from botocore's
	python -m generators.aws_endpoints

.PHONY: lock
lock: $(VENV)/installed ## Pin every dependency again, from pyproject.toml
	$(LOCK) --all-extras --group dev pyproject.toml --output-file requirements/dev.txt
	$(LOCK) --constraints requirements/dev.txt --no-emit-package charset-normalizer pyproject.toml --output-file layers/shared/requirements.txt
	$(LOCK) --group audit --output-file requirements/audit.txt
	$(LOCK) --group docs --no-emit-package artoo-artifacts --output-file requirements/docs.txt
	$(LOCK) --constraints requirements/dev.txt --group mutation --output-file requirements/mutation.txt
	grep --after-context=2 '^twilio==' requirements/dev.txt > functions/recording_status/requirements.txt

LOCK := uv pip compile --quiet --universal --python-version 3.13 --generate-hashes --no-header --no-annotate

.PHONY: package
package: $(VENV)/installed ## Build the files of a release in .local/release: make package TAG=v0.1.0
	@python -m generators.release --check $(TAG)
	rm -rf .local/release
	sam build --no-cached --build-dir .local/release/build
	@python -m generators.release $(TAG)

.PHONY: clean
clean: ## Remove everything that the other commands created
	rm -rf $(VENV) .local docs/reference/openapi.html .aws-sam .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
