# `make help` lists the targets.

PYTHON ?= python3
VENV   := .venv

# Values from the command line reach a shell only as environment variables, so that no part of one is run as a command:
# NAME='x; rm file' is an unknown recipe. `value` keeps make from running $(shell ...) in one.
SETTINGS := ARGS BASE CPUS EXPERIMENTS GROUPS JOBS JSON MINUTES NAME NODES PORT PROJECT PYTHON RUN SEED SET STOP TO TORCH VERSION
$(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(if $(filter $(SETTINGS),$(name)),, \
	$(error $(name)=... is not allowed: expected one of $(SETTINGS)))))
$(foreach name,$(SETTINGS),$(if $(filter undefined,$(origin $(name))),, \
	$(eval override $(name) := $$(value $(name)))$(eval export $(name))))
STAMP  := $(VENV)/.installed
# requirements.txt is what the pipeline needs. A group of requirements/ is added when a target needs it: STAMP-group.
ALL    := $(patsubst requirements/%.in,%,$(wildcard requirements/*.in))
WANTED := $(if $(filter all,$(GROUPS)),$(ALL),$(GROUPS))
$(foreach group,$(filter-out $(ALL),$(WANTED)),$(error GROUPS=$(group) is not allowed: expected $(ALL) or all))
$(foreach torch,$(filter-out cpu,$(TORCH)),$(error TORCH=$(torch) is not allowed: expected cpu))
# Use the environment's dvc, ruff, mypy and pytest, also in stages that dvc starts.
export PATH := $(abspath $(VENV)/bin):$(PATH)

# Arguments of several programs, as a shell expands them. SET="a=1 b=2" becomes -S a=1 -S b=2.
jobs := $${JOBS:+--jobs "$$JOBS"}
project := $${PROJECT:+"$$PROJECT"}
settings := set -f; for setting in $$SET; do set -- "$$@" -S "$$setting"; done;

.DEFAULT_GOAL := help
.PHONY: help env repro restore run serve label drift image notebooks metrics experiments recipes recipe compare review release upload submit readme-table cluster loop test test-all test-fast torture lint format audit lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(STAMP) $(addprefix $(STAMP)-,$(WANTED))  ## create .venv for the pipeline; GROUPS="serving ray" adds packages, GROUPS=all adds all, TORCH=cpu leaves out CUDA

repro: $(STAMP)  ## run the stages that changed, projects in parallel (JOBS=1: one after another)
	@exec python -m stages.experiments.repro $(jobs)
	$(show)

# Without --allow-missing, dvc stops at results that only another machine has. repro makes those again.
restore: $(STAMP)  ## go back to the last commit and its results, whatever happened; uncommitted changes are lost
	@mkdir -p reports/logs; touch params.yaml; flock --nonblock --conflict-exit-code 75 reports/logs/make-repro.lock git reset --quiet --hard || \
		{ [ $$? = 75 ] && echo "error: make repro is running here: wait for it, or stop it" >&2; exit 1; }
	@dvc checkout --quiet --force --allow-missing || true
	@exec python -m stages.experiments.repro $(jobs)

run: $(STAMP)  ## run a variant, with its parameters checked first: make run SET="mnist.optimizer=sgd mnist.seed=1"
	@$(settings) exec python -m stages.experiments.run "$$@"

serve: $(STAMP)-serving  ## serve the exported models over HTTP, with a page (make serve ARGS="--port 9000")
	@set -f; exec python -m stages.serving $$ARGS

image: $(STAMP)  ## build a container image that serves one model: make image PROJECT=scones VERSION=v1.0.0
	@exec python -m stages.serving.image $(project) $${VERSION:+"$$VERSION"}

label: $(STAMP)-serving  ## label captured pictures in a browser: make label PROJECT=landmarks ARGS="--captures reports/captured"
	@set -f; exec python -m stages.feedback.labelling $(project) $$ARGS

drift: $(STAMP)  ## compare captured requests with the training data: make drift PROJECT=bikes, ARGS=s3://bucket/prefix
	@set -f; exec python -m stages.feedback.drift $(project) $$ARGS

notebooks: $(STAMP)-notebooks  ## open the notebooks in JupyterLab
	@set -f; exec jupyter lab $${ARGS:-} notebooks

metrics: $(STAMP)  ## show the metrics and write a page of all results
	$(show)

define show
@echo
@python -m stages.experiments.report
@echo "Next:    make serve, or: . $(VENV)/bin/activate; dvc exp run -S mnist.optimizer=sgd; make compare PROJECT=mnist"
endef

# Run three test files at a time: tests that wait for a server or a cluster leave a core to others. torch uses one core in each,
# because on shared cores it would wait at every operation.
PYTEST := OMP_NUM_THREADS=1 pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

test: $(addprefix $(STAMP)-,$(ALL))  ## run the tests
	@$(PYTEST) -m "not long"

test-all: $(addprefix $(STAMP)-,$(ALL))  ## run all tests, including the few that take longest
	@$(PYTEST)

test-fast: $(addprefix $(STAMP)-,$(ALL))  ## run only the tests that take seconds
	@$(PYTEST) -m "not slow and not long"

torture: $(addprefix $(STAMP)-,$(ALL))  ## attack the stages, the exports and the server: make torture MINUTES=5 SEED=1
	@exec python tests/torture/round.py $${MINUTES:+--minutes "$$MINUTES"} $${SEED:+--seed "$$SEED"} $${PROJECT:+--project "$$PROJECT"} $${JSON:+--json "$$JSON"}

lint: $(addprefix $(STAMP)-,$(ALL))  ## check format, style and types
	@ruff format --check .
	@ruff check .
	@mypy

format: $(STAMP)-dev  ## format the code and fix what ruff can fix
	@ruff format .
	@ruff check --fix .

audit: $(STAMP)-dev  ## look for known vulnerabilities of the pinned packages at osv.dev
	@pip-audit --vulnerability-service osv --require-hashes --disable-pip --progress-spinner off \
		-r requirements.txt $(ALL:%=-r requirements/%.txt)

# Resolve all groups together, then each one from those versions, so that they agree. Keep current versions if possible.
COMPILE := uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --generate-hashes --custom-compile-command "make lock"
lock: $(STAMP)  ## compile requirements.in and requirements/*.in into *.txt
	@cat requirements.txt requirements/*.txt >$(VENV)/lock.txt
	@$(COMPILE) requirements.in requirements/*.in -o $(VENV)/lock.txt
	@for file in requirements $(addprefix requirements/,$(ALL)); do \
		cp $(VENV)/lock.txt $$file.txt && $(COMPILE) $$file.in -o $$file.txt || exit; done

recipes: $(STAMP)  ## list the named experiments; make recipes RUN=mnist runs all of a project
	@$(settings) exec python -m stages.experiments.run $${RUN:+--all "$$RUN"} $(jobs) "$$@"

recipe: $(STAMP)$(if $(findstring sweep,$(NAME)),-ray)  ## run a named experiment: make recipe NAME=mnist-sgd-dropout SET=data.source=../data
	@$(settings) exec python -m stages.experiments.run $${NAME:+"$$NAME"} $(jobs) "$$@"

experiments: $(STAMP)  ## show a table of experiments: make experiments PROJECT=mnist
	@exec python -m stages.experiments.table $(project)

compare: $(STAMP)  ## write a page that compares experiments: make compare PROJECT=mnist
	@set -f; exec python -m stages.experiments.compare $(project) $${EXPERIMENTS:+--experiments $$EXPERIMENTS}

review: $(STAMP)  ## show what this branch changes and whether a guarded metric worsened: make review BASE=main PROJECT=mnist
	@exec python -m stages.experiments.review $(project) $${BASE:+--base "$$BASE"}

release: $(STAMP)  ## tag a model as a version: make release PROJECT=mnist VERSION=v1.0.0
	@exec python -m stages.experiments.release $(project) $${VERSION:+"$$VERSION"}

upload: $(STAMP)  ## publish the trained models: make upload TO=hub:NAME on the Hugging Face Hub, TO=REMOTE on a DVC remote
	@set -f; exec python -m stages.experiments.upload $${TO:+"$$TO"} $(project) $$ARGS

submit: $(STAMP)-kaggle  ## send a recipe's forecasts to Kaggle for their score: make submit NAME=bikes-default
	@exec python -m stages.experiments.submit $${NAME:+"$$NAME"}

cluster: $(STAMP)-ray  ## start a Ray cluster of two nodes on this machine; make cluster STOP=1 stops it
	@exec python -m stages.cluster $(if $(STOP),stop,start $${PORT:+--port "$$PORT"} $${NODES:+--nodes "$$NODES"} $${CPUS:+--cpus "$$CPUS"})

loop: $(STAMP)  ## play scones' closed loop on a stand-in for AWS, from a stream that changes to the better model in service (ARGS=--yes: don't ask)
	@set -f; exec python -m stages.loop play $$ARGS

readme-table: $(STAMP)  ## update the tables of README and docs, and the charts of published results
	@python -m stages.experiments.documents

clean:  ## remove the environment and the tools' caches (data, models and reports stay)
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache

# uv installs in a fraction of pip's time, and compiles as pip does, so that programs start faster. It checks the hashes of
# all other packages, so pip checks uv's own. pip alone also works:
#   python3 -m venv .venv && .venv/bin/pip install -r requirements.txt
OWN_LINES := awk '/^[^ \#]/ {own = /^uv==/} own'
INSTALL := $(VENV)/bin/uv pip install --python $(VENV)/bin/python --compile-bytecode
PIPELINE := $(INSTALL) --require-hashes -r requirements.txt

# make env TORCH=cpu: for Linux on x86-64, PyPI has PyTorch only with CUDA. PyTorch's own index has it without CUDA, with
# hashes that are not in requirements.txt. So install everything but PyTorch and CUDA by hash, then PyTorch by version.
# A later make keeps that choice.
REST := $(VENV)/without-cuda.txt
ifneq ($(filter cpu,$(TORCH))$(wildcard $(REST)),)
PIPELINE := awk '/^[^ \#]/ {cuda = /^(torch|torchvision|triton|(nvidia|cuda)-[^=]*)==/} !cuda' requirements.txt >$(REST) \
	&& $(INSTALL) --require-hashes --no-deps -r $(REST) \
	&& $(INSTALL) --no-deps --torch-backend cpu $$(grep -oE '^(torch|torchvision)==[^ ;]+' requirements.txt)
endif

failed = { echo "error: the packages could not be installed ($$(grep -s -m 1 ^ERROR $(VENV)/install.log || echo 'see above')): \
check the network or the package index, then run make env again" >&2; exit 1; }

$(STAMP): requirements.txt
	@command -v "$$PYTHON" >/dev/null || { echo "error: $$PYTHON not found: install Python 3.11 to 3.13, or choose one: make PYTHON=..." >&2; exit 1; }
	@"$$PYTHON" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "error: $$("$$PYTHON" --version) found, expected Python 3.11 to 3.13: choose one with make PYTHON=python3.12" >&2; exit 1; }
	@command -v git >/dev/null || { echo "error: git not found: install it, DVC needs a git repository" >&2; exit 1; }
	@[ ! -L $(VENV) ] || { echo "error: $(VENV) is a link to $$(readlink $(VENV)), older than requirements.txt here: \
if its packages match requirements.txt, touch $(STAMP), otherwise remove the link" >&2; exit 1; }
	@"$$PYTHON" -m venv $(VENV) || { echo "error: $$PYTHON can't create an environment: install its venv module (Debian: apt install python3-venv)" >&2; exit 1; }
	@echo "Installing the packages of requirements.txt into $(VENV) (once; 2 GB, with CUDA 7 GB)"
	@$(OWN_LINES) requirements.txt >$(VENV)/uv.txt
	@$(VENV)/bin/python -m pip install --quiet --require-hashes --no-deps -r $(VENV)/uv.txt >$(VENV)/install.log 2>&1 \
		&& $(PIPELINE) || $(failed)
	@touch $@

$(STAMP)-%: requirements/%.txt $(STAMP)
	@echo "Adding the packages of $<"
	@$(INSTALL) --require-hashes -r $< || $(failed)
	@touch $@
