# make run    train on the embedded digits through the Prefect flow, and bring the result into this folder
# make sweep  search parameters: ARGS="NAME -S 'optimizer.lr=tag(log, interval(0.001, 0.1))' --trials 40 --parallel 4"
# make test   everything that is checked automatically
# make fuzz   damaged input for some minutes; FUZZ_EXAMPLES=N for more or fewer of each kind
# make faults runs killed N times at named points and at random, with a table of what became of them
# make bench  what it costs, beside a reference; writes docs/benchmarks.md; CIFAR=FILE PHOTOS=FILE WEIGHTS=FILE for those that need them
# make demo   the way round on the digits: train, promote, serve, notice other light, train again, promote
# make lint   style, types, import contracts, params.yaml against conf/, known vulnerabilities where pip-audit is at hand
# make params write params.yaml from conf/
# make keep   write an experiment's parameters into conf/ as a recipe and choose it: EXP=name [AS=recipe] [CHOOSE=no]
# make repair mend what a kill or a bad disk left in DVC's files, or say which command does
# make image  a container image of the commit: TORCH=cpu, IMAGE=registry/name:tag, ARGS for docker, podman or buildah
# make lock   resolve requirements.lock anew (needs uv)
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
unexport PYTHONPATH VIRTUAL_ENV

.PHONY: run sweep test demo fuzz faults bench bench-quick lint params keep repair format image lock setup
.DEFAULT_GOAL := run

# `make run ARGS="-S model=resnet18"` passes overrides on.
run: setup
	@python -m flows.pipeline --apply $(ARGS)

sweep: setup
	@python -m flows.sweep run $(ARGS)

demo: setup
	@python -m tools.demo $(ARGS)

test: setup
	@python -m pytest --numprocesses auto --dist worksteal $(ARGS)

fuzz: setup
	@FUZZ_EXAMPLES=$(or $(FUZZ_EXAMPLES),5000) python -m pytest tests/pipeline/test_fuzz.py --timeout 3600 --numprocesses auto $(ARGS)

faults: setup
	@python -m tests.faults $(or $(N),30) $(ARGS)

# The files that some questions need: make bench CIFAR=FILE PHOTOS=FILE WEIGHTS=FILE
FILES = $(if $(CIFAR),--cifar $(CIFAR)) $(if $(PHOTOS),--photos $(PHOTOS)) $(if $(WEIGHTS),--weights $(WEIGHTS))

bench: setup
	@python -m benchmarks $(FILES) $(ARGS)

bench-quick: setup
	@python -m benchmarks --quick $(FILES) $(ARGS)

lint: setup
	ruff check .
	ruff format --check .
	pyright
	lint-imports --no-logo
	python tools/params.py --check
	@python tools/audit.py

params: setup
	@python tools/params.py

# AS is make's own name for the assembler, too.
keep: setup
	@python -m lightline keep $(if $(EXP),'$(EXP)') $(if $(filter-out default,$(origin AS)),--as '$(AS)') $(if $(filter no,$(CHOOSE)),--no-choose)

repair: setup
	@python -m lightline repair

format: setup
	ruff check --fix .
	ruff format .

# The first that is found; all three know `build`.
ENGINE ?= $(firstword $(foreach engine,docker podman buildah,$(if $(shell command -v $(engine)),$(engine))))
TORCH ?= cuda
IMAGE ?= lightline

image:
	@test -d .git || { echo "error: an image is made in a clone, at its top: .git is no folder here" >&2; exit 1; }
	$(or $(ENGINE),$(error no docker, podman or buildah is found)) build --build-arg TORCH=$(TORCH) --tag $(IMAGE) \
		--label org.opencontainers.image.revision=$(shell git rev-parse HEAD) $(ARGS) .

lock:
	uv pip compile pyproject.toml --extra timm --group dev --generate-hashes --universal --no-emit-index-url \
		--python-version 3.11 --custom-compile-command "make lock" --output-file requirements.lock

setup: .venv/installed

.venv/installed: requirements.lock
	@$(PYTHON) tools/environment.py
