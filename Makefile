# SPDX-License-Identifier: Apache-2.0
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

VENV   ?= .venv
PYTHON := $(VENV)/bin/python
READY  := $(VENV)/.locked
# Tests run in this many processes; those on real hosts share one lab, and wait for it more than they compute.
JOBS   ?= $(shell expr $$(nproc) + 1)
TESTS  ?= tests
# Those with a Molecule scenario.
ROLES  ?= release_compose bundle_delivery container_runtime compose_environment \
          network_entry release_kubernetes \
          kubernetes_node kubeadm_control_plane kubeadm_worker cluster_network
# Those of them that make a cluster, and need the programs for it.
CLUSTER_ROLES := kubernetes_node kubeadm_control_plane kubeadm_worker cluster_network

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: venv
venv: $(READY) ## Make the virtual environment from the lock files and install Tidegate in it

$(READY): requirements/dev.txt pyproject.toml setup.py
	.ci/system-packages python
	$$(.ci/find-python) -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(READY)

.PHONY: lint
lint: venv ## Check style, the direction of imports, and the automation side
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports --no-cache
	.ci/lint-automation $(VENV)

.PHONY: types
types: venv ## Check types (strict in domain, services, ports and store)
	$(VENV)/bin/mypy

.PHONY: test
test: venv packages ## Run every test, on real hosts too; says at the end what was skipped and why
	# What fails beside others is run once more alone, and is named; tests of races have one try only.
	$(PYTHON) -m tests.second_try -n $(JOBS) $(TESTS)
	$(MAKE) --no-print-directory molecule

.PHONY: molecule
molecule: venv ## Run each role's Molecule scenario, with idempotence, on a host of a lab of its own
	# Those that make a cluster need the machine for themselves.
	$(MAKE) --no-print-directory --jobs 2 --output-sync=target \
	  $(addprefix molecule-,$(filter-out $(CLUSTER_ROLES),$(ROLES)))
	$(MAKE) --no-print-directory --jobs 1 $(addprefix molecule-,$(CLUSTER_ROLES))

# Molecule installs the collection anew each time; at once, they would take it from each other.
molecule-%: venv
	if [ $* = release_kubernetes ] && ! $(PYTHON) -m tests.lab kube check; then \
	  echo "molecule: $* is skipped"; exit 0; \
	fi; \
	if [[ " $(CLUSTER_ROLES) " = *" $* "* ]] && ! $(PYTHON) -m tests.lab kubeadm >/dev/null; then \
	  echo "molecule: $* is skipped"; exit 0; \
	fi; \
	cd collections/ansible_collections/tidegate/deploy/roles/$*; \
	export ANSIBLE_HOME="$$(mktemp --directory)"; trap 'rm -rf "$$ANSIBLE_HOME"' EXIT; \
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" molecule test

.PHONY: test-unit
test-unit: venv ## Run the tests that need nothing but Python
	$(PYTHON) -m pytest -rs -n $(JOBS) tests/unit

.PHONY: packages
packages: venv ## Install the system packages that the tests need and that are missing, naming them first
	.ci/system-packages lab postgres

.PHONY: bench
bench: venv ## Measure Tidegate beside the same by hand; prints a table and writes bench.json
	.ci/system-packages lab
	$(PYTHON) -m tests.bench

.PHONY: demo
demo: venv ## Bring up a lab host and a server, walk through a release and a rollback, leave the server running
	.ci/system-packages lab
	@$(PYTHON) -m tests.demo up

.PHONY: demo-down
demo-down: ## Remove everything that `make demo` made (the virtual environment stays)
	@if [ -x $(PYTHON) ]; then $(PYTHON) -m tests.demo down; else echo 'there is no demo: nothing to remove'; fi

.PHONY: lab-up
lab-up: venv ## Bring up a lab with two hosts, to try things on
	.ci/system-packages lab
	$(PYTHON) -m tests.lab up --name shared --hosts a,b

.PHONY: lab-down
lab-down: ## Remove that lab
	$(PYTHON) -m tests.lab down --name shared

.PHONY: lab-bundle
lab-bundle: venv ## Make a real bundle for the lab out of Debian's packages; prints its folder
	.ci/system-packages lab
	@$(PYTHON) -m tests.lab bundle

.PHONY: lab-kube
lab-kube: venv ## Bring up a Kubernetes API (and a node, as root) from KUBEBUILDER_ASSETS, to try releases against
	.ci/system-packages lab
	@$(PYTHON) -m tests.lab kube up

.PHONY: lab-kube-down
lab-kube-down: ## Remove that Kubernetes
	$(PYTHON) -m tests.lab kube down

.PHONY: lock
lock: venv ## Resolve requirements/*.in anew into the hash-locked requirements/*.txt
	for name in runtime dev; do \
	  $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --upgrade --generate-hashes \
	    --no-emit-index-url --no-header requirements/$$name.in --output-file requirements/$$name.txt; \
	done

.PHONY: wheel
wheel: venv ## Build the wheel; it carries the automation side
	$(PYTHON) -m build --wheel --no-isolation --outdir dist .

.PHONY: collection
collection: venv ## Build the Ansible collection
	$(VENV)/bin/ansible-galaxy collection build --force --output-path dist \
	  collections/ansible_collections/tidegate/deploy
