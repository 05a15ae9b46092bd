# make demo: from nothing to reports.  make ui: look at them.  make test: everything that CI runs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO ?= .demo
STAMP := $(VENV)/.installed
FIND := $(if $(PIP_FIND_LINKS),--find-links "$(PIP_FIND_LINKS)",)
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode $(FIND) -c constraints.txt
# Compiled modules are kept: without them each worker and each command that a test starts compiles the whole package.
TESTED := PYTHONDONTWRITEBYTECODE= $(BIN)/python
COVERED := $(TESTED) -m slipcover --source itrialspace_assets --skip-covered
PYTEST := -m pytest --dist loadscope --no-loadscope-reorder
OLD := $(VENV)/old-duckdb
export OLD_DUCKDB_PYTHON := $(abspath $(OLD)/bin/python)
ROC := $(VENV)/roc-validator
export ROC_VALIDATOR_PYTHON := $(abspath $(ROC)/bin/python)

# The explorer's page, built into the package; no network afterwards.
PAGE := itrialspace_assets/explorer/page/index.html
NPM = PATH="$(abspath $(BIN)):$$PATH" npm --prefix web

IMAGE_TAG ?= latest
IMAGE_FILE ?= itrialspace-images.tar.gz
BASE ?= python:3.11-slim-bookworm
ADDITIONS ?= docker,k8s,postgres
COMPOSE ?= docker compose
COMPOSE_UP = $(COMPOSE) --project-name itrialspace --env-file deploy/docker/.env -f deploy/docker/compose.yaml

.PHONY: demo ui explore page test quick daemons browser lint docs check-defs lock clean wheels image-cpu images image-save docker-up docker-down sbom audit
demo: $(STAMP)
	$(BIN)/its demo --dir $(DEMO)

ui: $(STAMP)
	$(BIN)/its ui --dir $(DEMO)

explore: $(STAMP) $(PAGE)
	$(BIN)/its explore --dir $(DEMO)

page: $(PAGE)

web/node_modules/.installed: $(VENV)/.installed-page web/package-lock.json
	$(NPM) ci --no-audit --no-fund --silent
	touch $@

$(PAGE): web/node_modules/.installed $(shell find web/src web/public web/index.html web/vite.config.ts web/vite.casepage.config.ts web/tsconfig.json web/package.json -type f 2>/dev/null)
	$(NPM) run --silent build

test: $(VENV)/.installed-test $(OLD)/.installed $(ROC)/.installed web/node_modules/.installed
	$(NPM) test
	$(COVERED) $(PYTEST) -n 2 -m "not slow and not browser"
	$(TESTED) $(PYTEST) -n 3 -m "slow and not slurm and not docker and not patient and not browser"  # whole runs wait for processes of their own half the time

quick: $(VENV)/.installed-test $(OLD)/.installed
	$(TESTED) $(PYTEST) -n 2 -m "not slow and not browser"

# With a SLURM cluster or a Docker engine, and what waits for timeouts; what is not there is skipped with the reason.
daemons: $(VENV)/.installed-test
	$(TESTED) $(PYTEST) -n 1 -m "slurm or docker or patient"

# Reports and the explorer in a headless Chromium; skipped with the reason where none is on PATH.
browser: $(VENV)/.installed-test $(VENV)/.installed-browser $(PAGE)
	$(TESTED) $(PYTEST) -n 1 -m browser

lint: $(VENV)/.installed-dev web/node_modules/.installed
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports && $(BIN)/mypy
	$(NPM) run --silent check

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

check-defs: $(VENV)/.installed-dev
	VIRTUAL_ENV=$(abspath $(VENV)) DAGSTER_DISABLE_TELEMETRY=1 $(BIN)/dg check defs

# Newest versions that pyproject.toml allows. Read the difference, then run everything.
lock: $(VENV)/bin/uv
	rm -f uv.lock && $(BIN)/uv lock --quiet
	echo "# Made by make lock (uv lock, uv export). Do not edit: pip and uv read it as constraints." > constraints.txt
	$(BIN)/uv export --quiet --frozen --no-hashes --no-emit-project --no-annotate --no-header --all-extras >> constraints.txt
	rm uv.lock

$(VENV)/bin/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9

$(STAMP): $(VENV)/bin/uv pyproject.toml constraints.txt
	$(UV) -e .
	touch $@

$(VENV)/.installed-%: $(STAMP)
	$(UV) -e ".[$*]"
	touch $@

# An older DuckDB client, to test that it opens the catalog.
$(OLD)/.installed: $(VENV)/bin/uv
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) $(OLD)
	$(BIN)/uv pip install --quiet --python $(OLD)/bin/python duckdb==1.4.4
	touch $@

# Wheels of the lock for this Python and machine: images are then built from them. For the GPU image too:
# make wheels ADDITIONS=docker,k8s,postgres,gpu
wheels: $(VENV)/bin/uv
	rm -f deploy/docker/wheels/*.whl
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check -c constraints.txt -w deploy/docker/wheels \
	  '.[$(ADDITIONS)]' uv==0.13.9 hatchling==1.33.0
	rm -f deploy/docker/wheels/itrialspace_assets-*.whl

# BASE=... for another Debian, OFFLINE=1 for wheels alone, TORCH_INDEX=... for torch of another index (images).
image-cpu:
	docker build --tag itrialspace-cpu:$(IMAGE_TAG) --build-arg BASE=$(BASE) --build-arg OFFLINE=$(OFFLINE) \
	  --file deploy/docker/cpu.Dockerfile .

images: image-cpu
	docker build --tag itrialspace-gpu:$(IMAGE_TAG) --build-arg CPU_IMAGE=itrialspace-cpu:$(IMAGE_TAG) \
	  --build-arg OFFLINE=$(OFFLINE) --build-arg TORCH_INDEX=$(TORCH_INDEX) --file deploy/docker/gpu.Dockerfile .

# For a machine without a network: docker load -i itrialspace-images.tar.gz
image-save:
	docker save $$(docker images --filter 'reference=itrialspace-*:$(IMAGE_TAG)' --format '{{.Repository}}:{{.Tag}}') \
	  | gzip > $(IMAGE_FILE)

# Everything on this machine, with a database: deploy/docker/README.md. DATA=... and OUT=... at the first time.
docker-up: deploy/docker/.env
	$(COMPOSE_UP) up --detach
	@echo "Result: http://$$(sed -n 's/^ITS_BIND=//p' $<):$$(sed -n 's/^ITS_PORT=//p' $<) (ready within a minute)"

docker-down:
	$(COMPOSE_UP) down

deploy/docker/.env:
	deploy/docker/prepare '$(DATA)' '$(OUT)'

# The validator of RO-Crates wants an older rich than we do.
$(ROC)/.installed: $(VENV)/bin/uv
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) $(ROC)
	$(BIN)/uv pip install --quiet --python $(ROC)/bin/python roc-validator==0.13.0
	touch $@

# A software bill of materials (CycloneDX) of what an installation brings: sbom.json. ADDED=gpu adds an extra.
sbom: $(VENV)/supply/.installed
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) $(VENV)/runtime
	$(BIN)/uv pip install --quiet --python $(VENV)/runtime/bin/python $(FIND) -c constraints.txt -r pyproject.toml \
	  $(if $(ADDED),--extra $(ADDED),)
	$(VENV)/supply/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --of JSON -o sbom.json \
	  $(VENV)/runtime/bin/python
	@echo "Result: sbom.json"

# Known weaknesses of the locked packages. It asks a public database: without a network it fails and says so.
audit: $(VENV)/supply/.installed
	$(VENV)/supply/bin/pip-audit --strict --progress-spinner off --no-deps --disable-pip -r constraints.txt

$(VENV)/supply/.installed: $(VENV)/bin/uv
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) $(VENV)/supply
	$(BIN)/uv pip install --quiet --python $(VENV)/supply/bin/python cyclonedx-bom==7.5.0 pip-audit==2.10.1
	touch $@

clean:
	rm -rf $(DEMO) site .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache
