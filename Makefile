# `make help` lists the targets. From a fresh machine, `make test` does everything.
#
#   CLUSTER=local|kind|current   which cluster (see `python -m cluster --help`)
#   FAKE_NODES=n                 also n fake nodes, for `up`

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
PYTHON := $(VENV)/bin/python
LOCK := requirements/dev.txt
STAMP := $(VENV)/.installed-$(shell cat $(LOCK) pyproject.toml | sha256sum | cut -c1-16)
TRAINING := build/training
TRAINED := images/bazaar/training
FAKE_NODES ?= 0
FAULTS ?=
SUITES ?= t03
HEALTHY ?= 1
FULL ?=
ARGS ?=
OBSERVE ?=
TEST_MODE ?=
CHAOS_NAMESPACES ?=
COMMA := ,
SPACE := $(subst x,,x x)
export CLUSTER

# kubectl and helm of the cluster, and the way to it; only `up` and what comes after it may ask for them.
WITH_CLUSTER = export KUBECONFIG="$$($(PYTHON) -m cluster kubeconfig)" PATH="$(abspath $(VENV))/bin:$$($(PYTHON) -m cluster bin):$$PATH";
LOCKED = $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url
PYTEST = $(PYTHON) -m pytest

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: test
test: verify unit e2e ## everything, from nothing: checks, unit tests, cluster, images, charts, e2e tests

.PHONY: verify
verify: $(STAMP) ## static checks: ruff, mypy, import contracts, generated files
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	MYPYPATH=images/bazaar $(VENV)/bin/mypy --exclude '^tests/(bazaar|matrix)/' operator cluster tests
	@# The folder tests/bazaar and the package bazaar have one name, so they are looked at apart.
	MYPYPATH=images/bazaar:tests/bazaar:tests $(VENV)/bin/mypy images/bazaar/bazaar images/bazaar/cards.py tests/bazaar tests/matrix
	MYPYPATH=images/cassette $(VENV)/bin/mypy images/cassette/cassette
	PYTHONPATH=operator:images/bazaar $(VENV)/bin/lint-imports
	$(VENV)/bin/proctor crds --check

.PHONY: unit
unit: $(STAMP) ## the tests that need no cluster
	@command -v redis-server >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; } || \
		{ echo "the tests of bazaar need redis-server: apt-get install redis-server" >&2; exit 1; }
	@command -v redis-server >/dev/null || { apt-get update -q && apt-get install -q -y --no-install-recommends redis-server; }
	$(PYTEST) -m "not e2e" -n 2 --dist loadgroup

# Prometheus itself is not wanted: its package would start a server.
$(VENV)/bin/promtool: | $(STAMP)
	@if command -v promtool >/dev/null; then ln -s "$$(command -v promtool)" $@; else \
		cd $(VENV); apt-get download -q prometheus || { apt-get update -q && apt-get download -q prometheus; }; \
		dpkg-deb --fsys-tarfile prometheus_*.deb | tar -xO ./usr/bin/promtool >promtool; \
		rm prometheus_*.deb; chmod 755 promtool; mv promtool bin/promtool; fi

.PHONY: e2e
e2e: install $(VENV)/bin/promtool ## the tests that need a cluster with Proctor, which is brought up first
	$(WITH_CLUSTER) PROCTOR_E2E=1 $(PYTEST) -m "e2e and alone"
	$(WITH_CLUSTER) PROCTOR_E2E=1 exec $(PYTEST) -m "e2e and not alone" -n 3

.PHONY: up
up: $(STAMP) ## bring up the cluster (again)
	$(PYTHON) -m cluster up $(if $(filter-out 0,$(FAKE_NODES)),--fake-nodes $(FAKE_NODES))

.PHONY: down
down: $(STAMP) ## take the cluster down
	$(PYTHON) -m cluster down

.PHONY: status
status: $(STAMP) ## say what of the cluster is there
	$(PYTHON) -m cluster status

.PHONY: images
images: up ## build the images, load them into the cluster, write build/images.yaml
	$(PYTHON) -m cluster images

.PHONY: install
install: images ## install or upgrade Proctor in the cluster; CHAOS_NAMESPACES='bazaar other' may have faults
	$(WITH_CLUSTER) for namespace in $(CHAOS_NAMESPACES); do \
		kubectl get namespace $$namespace >/dev/null 2>&1 || kubectl create namespace $$namespace; \
		kubectl label namespace $$namespace --overwrite proctor.dev/chaos=allowed \
			pod-security.kubernetes.io/warn=restricted pod-security.kubernetes.io/audit=restricted; done; \
	helm upgrade --install proctor helm/proctor --namespace proctor-system --create-namespace \
		--values build/images.yaml --set-json 'chaos.namespaces=[$(subst $(SPACE),$(COMMA),$(patsubst %,"%",$(strip $(CHAOS_NAMESPACES))))]' \
		--take-ownership --wait --timeout 5m

.PHONY: jaeger
jaeger: up ## build the image of Jaeger and load it (4 min the first time)
	$(PYTHON) -m cluster images jaeger

.PHONY: chaos-mesh
chaos-mesh: up ## Chaos Mesh in the cluster, for `driver: ChaosMesh` (4 min the first time)
	$(PYTHON) -m cluster images chaos-mesh
	$(WITH_CLUSTER) helm upgrade --install chaos-mesh \
		"$$(go -C cluster/tools/chaosmesh list -m -f '{{.Dir}}' github.com/chaos-mesh/chaos-mesh)/helm/chaos-mesh" \
		--namespace chaos-mesh --create-namespace --values cluster/chaos-mesh.yaml \
		--set images.tag="$$(sed -n 's/^  chaos-mesh: .*://p' build/images.yaml)" --wait --timeout 5m

# In the example platform's namespace faults are allowed.
bazaar matrix bench-bazaar: CHAOS_NAMESPACES += bazaar
.PHONY: bazaar
bazaar: install $(if $(OBSERVE),jaeger) ## the example platform in the cluster; FAULTS=idempotency_ignored plants a fault; OBSERVE=1 adds Prometheus and Jaeger
	$(WITH_CLUSTER) helm upgrade --install bazaar helm/bazaar --namespace bazaar --create-namespace \
		--values build/images.yaml $(if $(OBSERVE),--values helm/bazaar/values-observability.yaml) \
		--values <($(PYTHON) images/bazaar/cards.py '$(FAULTS)') --wait --timeout 5m

# TEST_MODE=GOLDEN or LIVE_SMOKE is another mode than MOCK. The table at the end has the time of each suite.
test-scaffolding: STEP := scaffolding ## T1 against the example platform: modes, cassettes, factories; TEST_MODE=GOLDEN, FAULTS and OBSERVE as above
test-contract: STEP := contract ## T2: API, schemas, errors, personal data
test-e2e: STEP := journeys ## T3: what customers do, judged by the rows in the database
test-router: STEP := router ## T5: the router's gates, calibration, drift, golden decisions, cost
test-tenants: STEP := tenants ## T6: tenants, users, search, quotas and audit, probed from all sides
test-integration: STEP := platform kubernetes ## orchestrator, API gateway, answers, bills together
test-chaos: STEP := replay chaos ## T7: killed, cut off and frozen under load; dead letters, sagas, replays
test-all-upgrades: STEP := ## every suite of suites/testsuite.yaml in one run
.PHONY: test-scaffolding test-contract test-e2e test-router test-tenants test-integration test-chaos test-all-upgrades
test-scaffolding test-contract test-e2e test-router test-tenants test-integration test-chaos test-all-upgrades: bazaar
	$(WITH_CLUSTER) kubectl apply $(patsubst %,-f %,suites/testsuite.yaml $(wildcard suites/*/rbac.yaml))
	$(WITH_CLUSTER) proctor run upgrades -n bazaar --wait --timeout 30m $(STEP:%=--step %) $(TEST_MODE:%=--mode %)

.PHONY: t07-full
t07-full: bazaar ## T7 in its full profile: 20 schedules of 500 tasks, every role killed, 200 replays; goes on where it was interrupted
	$(WITH_CLUSTER) PYTHONPATH=tests:images/bazaar $(PYTHON) tests/bench/chaos_full.py $(ARGS)

.PHONY: demo
demo: bazaar ## the example platform, a suite, a verdict; FAULTS and OBSERVE as above
	$(WITH_CLUSTER) kubectl apply -f suites/t03_journeys/suite.yaml
	$(WITH_CLUSTER) proctor run journeys -n bazaar --wait --join --timeout 10m

.PHONY: loopback
loopback: $(STAMP) ## the example platform as processes on loopback, no cluster, until Ctrl-C; FAULTS plants, SHELVES=1 fills the index of vectors; environment in build/loopback.env
	@mkdir -p build
	PYTHONPATH=tests/bazaar exec $(PYTHON) tests/bazaar/loopback.py --faults '$(FAULTS)' $(if $(SHELVES),--shelves) --env-file build/loopback.env

.PHONY: faults
faults: $(STAMP) ## the faults that can be planted in the example platform, and what must catch each
	$(PYTHON) images/bazaar/cards.py

.PHONY: bazaar-router-card
bazaar-router-card: $(TRAINING)/.installed ## retrain the example platform's router: its card, or what of it does not hold; WRITE=1 keeps it
	PYTHONPATH=images/bazaar $(TRAINING)/bin/python -m training $(if $(WRITE),--write)

$(TRAINING)/.installed: $(TRAINED)/requirements.txt
	python3.11 -m venv $(TRAINING)
	$(TRAINING)/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

.PHONY: matrix
matrix: install jaeger ## which suite catches which planted fault: SUITES=t01,t03 HEALTHY=1 FULL=1 ARGS=--again
	$(WITH_CLUSTER) PYTHONPATH=tests:images/bazaar $(PYTHON) -m matrix '$(SUITES)' --healthy $(HEALTHY) $(if $(FULL),--full) $(ARGS)

.PHONY: bench-latency
bench-latency: install ## TestRun created -> its pod exists, beside a bare Job
	$(WITH_CLUSTER) PYTHONPATH=tests $(PYTHON) tests/bench/latency.py

.PHONY: bench-scale
bench-scale: FAKE_NODES = 2
bench-scale: install ## 1,000 runs to Passed on fake nodes, beside 1,000 bare Jobs; the operator's memory
	$(WITH_CLUSTER) helm upgrade proctor helm/proctor --namespace proctor-system --reuse-values --set maxPods=2000 --wait
	$(WITH_CLUSTER) PYTHONPATH=tests $(PYTHON) tests/bench/scale.py

.PHONY: bench-heal
bench-heal: install chaos-mesh ## a network cut whose controller is gone: Proctor's beside Chaos Mesh's
	$(WITH_CLUSTER) PYTHONPATH=tests $(PYTHON) tests/bench/heal.py

.PHONY: bench-bazaar
bench-bazaar: install jaeger ## the example platform from a fresh install: readiness, memory, capacity, CPU, and kill -9 of each pod
	$(WITH_CLUSTER) helm uninstall bazaar --namespace bazaar --ignore-not-found --wait; began=$$(date +%s); \
	helm upgrade --install bazaar helm/bazaar --namespace bazaar --create-namespace --values build/images.yaml \
		--values helm/bazaar/values-observability.yaml --wait --timeout 5m; \
	$(PYTHON) tests/bench/bazaar.py --installed-at $$began

.PHONY: generate
generate: $(STAMP) ## write the generated files
	$(VENV)/bin/proctor crds --write
	PYTHONPATH=tests $(PYTHON) tests/suites_whole.py

.PHONY: lock
lock: $(STAMP) ## choose the newest allowed versions for requirements/*.txt
	$(LOCKED) --upgrade pyproject.toml --extra operator --output-file requirements/operator.txt
	$(LOCKED) --upgrade pyproject.toml --extra runner --output-file requirements/runner.txt
	$(LOCKED) --upgrade pyproject.toml --all-extras images/bazaar/requirements.in images/cassette/requirements.in --output-file requirements/dev.txt
	$(LOCKED) --upgrade images/bazaar/requirements.in --output-file images/bazaar/requirements.txt
	$(LOCKED) --upgrade images/cassette/requirements.in --output-file images/cassette/requirements.txt
	$(LOCKED) --upgrade $(TRAINED)/requirements.in --output-file $(TRAINED)/requirements.txt

$(STAMP): $(LOCK) pyproject.toml
	@command -v python3.11 >/dev/null || { echo "python3.11 is missing: on Debian 12, apt-get install python3.11 python3.11-venv" >&2; exit 1; }
	@test -x $(PYTHON) || python3.11 -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "python3.11 has no venv: on Debian 12, apt-get install python3.11-venv" >&2; exit 1; }
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $(LOCK)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.installed-* && touch $@
