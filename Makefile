# Short names for what people and .ci/run do. `make` or `make help` lists them.
#
# Nothing has to be installed beforehand but Rust, Python 3 and a C compiler: the rest is brought
# into the cache by e2e/bring.py; the JDK and Maven for one client, as root, from Debian.

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/millstream
export CARGO_TARGET_DIR ?= $(CACHE)/target

# The build that demo, dev and bench run: release by hand, dev in CI.
PROFILE ?= release
CARGO ?= cargo
CYCLES ?= 20
SEED ?= 1
SEEDS ?= 200

BINARY = $(CARGO_TARGET_DIR)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))/millstream
NODES ?= 2
IMAGES ?= millstream millstream-operator
# Crates by image: the program of the data plane is called as the project is.
IMAGE_CRATES = $(patsubst millstream,millstream-server,$(IMAGES))
# Only the standard library, so that the cluster needs no venv.
CLUSTER_PYTHON = python3
CLUSTER = $(CLUSTER_PYTHON) e2e/cluster/cluster.py

# One seed where it is asked for, else as many as are asked for.
SIMULATED = $(if $(filter command line environment,$(origin SEED)),SEED=$(SEED),SEEDS=$(SEEDS))
PYTHON = "$$(python3 e2e/bring.py python)"
TIMED = sh e2e/timed.sh
# A fifth quicker to run than unoptimised; linking as one would take longer than it saves.
SIM_CARGO = CARGO_PROFILE_RELEASE_LTO=off $(CARGO) test --release
# The one feature that nothing ships with: it runs the CEL rules of the custom resources.
TEST_FEATURES = --features millstream-crds/cel

.PHONY: help demo test check dev gen sim crash bench bench-peers check-each
.PHONY: images cluster-up cluster-status cluster-load cluster-down cluster-proof cluster-test cluster-upgrade cluster-demo cluster-ci cluster-lint
.PHONY: charts apiserver
.PHONY: format lint docs unit tidy server clients

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: server ## 336,776 flights through a stream and two SIGKILLs; ROWS=20000 makes it short
	@PROFILE=$(PROFILE) $(PYTHON) e2e/demo/demo.py

test: ## format, lints, every test, and real clients against a server
	@$(TIMED) format $(MAKE) --no-print-directory format
	@$(TIMED) lint $(MAKE) --no-print-directory lint
	@$(TIMED) unit $(MAKE) --no-print-directory unit
	@python3 e2e/selftest.py
	@$(TIMED) charts $(MAKE) --no-print-directory charts apiserver
	@$(TIMED) clients $(MAKE) --no-print-directory clients PROFILE=dev

check: format lint docs tidy ## format, lints, documentation and repository rules, without the tests

dev: server ## the server on 127.0.0.1:4567, data in ./millstream-data; Ctrl-C drains it
	@$(BINARY) server

gen: ## make all generated files again
	$(CARGO) run --quiet -p millstream-crds --features k8s --bin crdgen .
	UPDATE=1 $(CARGO) test --quiet -p millstream-protocol --test it coverage
	UPDATE=1 $(CARGO) test --quiet -p millstream-e2e --test reference

sim: ## the storage and the whole data plane over many seeds: SEEDS=2000 OUT=sim.txt, or one: SEED=7
	$(SIMULATED) $(SIM_CARGO) -p millstream-storage --test it
	$(SIMULATED) $(if $(OUT),OUT=$(abspath $(OUT))) $(SIM_CARGO) -p millstream-e2e --test sim acknowledged

crash: ## kill a real server again and again and check its history: CYCLES=20 SEED=1
	@$(CARGO) build --quiet --locked -p millstream-server
	@$(CARGO) run --quiet --locked -p millstream-e2e --bin crash -- \
		--cycles $(CYCLES) --seed $(SEED) $(if $(OUT),--out $(OUT))

bench: server ## measure disk, log, engine and server: BENCH='--rounds 1 --out docs/results/bench.json'
	@$(BINARY) bench $(BENCH)

bench-peers: server ## measure other servers beside ours: BENCH='--out docs/results/peers.json'
	@$(PYTHON) e2e/bench_peers.py --binary $(BINARY) $(BENCH)

charts: ## the Helm charts: lint, rules, and a real API server if it is built; UPDATE=1 keeps renderings
	@$(PYTHON) e2e/charts/run.py

apiserver: ## the custom resources against a real API server, if it is built
	@$(PYTHON) e2e/apiserver/run.py

check-each: ## compile every crate alone, so that its manifest is honest
	@for crate in $$($(CARGO) metadata --no-deps --format-version 1 --locked \
		| python3 -c 'import json,sys; print(*(p["name"] for p in json.load(sys.stdin)["packages"]))'); \
	do echo "$$crate"; $(CARGO) check --quiet --locked -p $$crate || exit 1; done
	@echo millstream-crds with k8s
	@$(CARGO) check --quiet --locked -p millstream-crds --features k8s

images: ## container images of the built programs: IMAGES="millstream millstream-operator"
	@$(CARGO) build --quiet --locked --profile $(PROFILE) $(addprefix -p ,$(IMAGE_CRATES))
	@$(CLUSTER_PYTHON) e2e/images/build.py --profile $(PROFILE) $(IMAGES)

cluster-up: ## a real Kubernetes cluster in network namespaces of this machine: NODES=2
	@$(CLUSTER) up --nodes $(NODES)

cluster-status: ## processes, nodes and add-ons of the cluster
	@$(CLUSTER) status

cluster-load: images ## build the images and put them on every node
	@$(CLUSTER) load $(foreach image,$(IMAGES),$(CACHE)/images/$(image).tar)

cluster-down: ## take the cluster away, and check that nothing is left of it
	@$(CLUSTER) down

cluster-proof: ## prove the cluster itself: up, volumes, names, faults, down with nothing left
	@$(CLUSTER_PYTHON) e2e/cluster/proof.py

cluster-test: ## clients and faults on the cluster: SCENARIOS=--short, or names; E2E_CLUSTER=local|kind|kubeconfig
	@$(CARGO) build --quiet --locked -p millstream-e2e --bin history
	@$(PYTHON) e2e/images/proof.py
	@$(PYTHON) e2e/cluster/scenarios.py $(SCENARIOS)

cluster-upgrade: ## records of an older commit, upgraded to this one under load: FROM=REF
	@$(CARGO) build --quiet --locked -p millstream-e2e --bin history
	@$(PYTHON) e2e/cluster/upgrade.py $(FROM)

cluster-lint: ## scripts and manifests of e2e/cluster, e2e/kind and e2e/images, without a cluster
	@$(PYTHON) e2e/cluster/lint.py

cluster-ci: ## what CI runs of the cluster: the short set on a cluster of its own
	@sh e2e/cluster/ci.sh

cluster-demo: cluster-up cluster-load ## charts, examples and the AWS CLI on the cluster
	@$(PYTHON) e2e/cluster/demo.py

# The parts of the targets above.

format:
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path e2e/clients/rust/Cargo.toml --check

lint:
	$(CARGO) clippy --quiet --locked --workspace --all-targets $(TEST_FEATURES) -- -D warnings

docs:
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" $(CARGO) doc --quiet --locked --workspace --no-deps

unit:
	$(CARGO) test --quiet --locked --workspace --no-fail-fast $(TEST_FEATURES)
	$(CARGO) test --quiet --locked -p millstream-storage --features shuttle --lib threads

tidy:
	$(CARGO) test --quiet --locked -p millstream-e2e --test tidy

server:
	@$(CARGO) build --quiet --locked -p millstream-server --profile $(PROFILE)

clients: server
	python3 e2e/clients/run.py --profile $(PROFILE)
