# `make help` lists what there is to do.

PYTHON ?= python3
VENV   := .venv
STAMP  := $(VENV)/.installed
# requirements.txt is what the pipeline needs. A group of requirements/ is added when a target needs it: STAMP-group.
ALL    := $(patsubst requirements/%.txt,%,$(wildcard requirements/*.txt))
WANTED := $(if $(filter all,$(GROUPS)),$(ALL),$(GROUPS))
$(foreach group,$(filter-out $(ALL),$(WANTED)),$(error GROUPS=$(group) is not known: expected $(ALL) or all))
# For the environment's own dvc, ruff, mypy, pytest, and for the stages that dvc starts.
export PATH := $(abspath $(VENV)/bin):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help env repro serve metrics experiments recipes recipe compare review release readme-table cluster test test-all test-fast lint format lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(STAMP) $(addprefix $(STAMP)-,$(WANTED))  ## create .venv for the pipeline; make env GROUPS="serving ray" adds more, GROUPS=all everything, TORCH=cpu leaves CUDA out

repro: $(STAMP)  ## run the pipeline: all that changed, projects side by side (JOBS=1: one after the other)
	@python -m stages.experiments.repro $(addprefix --jobs ,$(JOBS))
	$(show)

serve: $(STAMP)-serving  ## serve the exported models: HTTP and a page (make serve ARGS="--port 9000")
	@python -m stages.serving $(ARGS)

metrics: $(STAMP)  ## show the metrics, and all results in a page
	$(show)

define show
@echo
@python -m stages.experiments.report
@echo "Next:    make serve, or: . $(VENV)/bin/activate; dvc exp run -S mnist.optimizer=sgd; make compare PROJECT=mnist"
endef

# Two files of tests at a time, each test's torch on one core: two that share cores wait for each other at every operation.
PYTEST := OMP_NUM_THREADS=1 pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test: $(addprefix $(STAMP)-,$(ALL))  ## run the tests
	@$(PYTEST) -m "not long"

test-all: $(addprefix $(STAMP)-,$(ALL))  ## run them with the few that take longest
	@$(PYTEST)

test-fast: $(addprefix $(STAMP)-,$(ALL))  ## run the tests that take seconds
	@$(PYTEST) -m "not slow and not long"

lint: $(addprefix $(STAMP)-,$(ALL))  ## check format, style and types
	@ruff format --check .
	@ruff check .
	@mypy

format: $(STAMP)-dev  ## format the code and mend what can be mended
	@ruff format .
	@ruff check --fix .

# All groups are resolved together, then each by itself from those versions, so that they agree. Today's versions are kept if they can be.
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock"
lock: $(STAMP)  ## compile requirements.in and requirements/*.in into *.txt
	@cat requirements.txt requirements/*.txt >$(VENV)/lock.txt
	@$(COMPILE) requirements.in requirements/*.in -o $(VENV)/lock.txt
	@for file in requirements $(addprefix requirements/,$(ALL)); do \
		cp $(VENV)/lock.txt $$file.txt && $(COMPILE) $$file.in -o $$file.txt || exit; done

recipes: $(STAMP)  ## list the named experiments; make recipes RUN=mnist runs all of a project
	@python -m stages.experiments.run $(addprefix --all ,$(RUN)) $(addprefix --jobs ,$(JOBS)) $(addprefix -S ,$(SET))

recipe: $(STAMP)$(if $(findstring sweep,$(NAME)),-ray)  ## run a named experiment: make recipe NAME=mnist-sgd-dropout SET=data.source=../data
	@python -m stages.experiments.run $(NAME) $(addprefix --jobs ,$(JOBS)) $(addprefix -S ,$(SET))

experiments: $(STAMP)  ## a table of experiments: make experiments PROJECT=mnist
	@python -m stages.experiments.table $(PROJECT)

compare: $(STAMP)  ## compare experiments in a page: make compare PROJECT=mnist
	@python -m stages.experiments.compare $(PROJECT) $(if $(EXPERIMENTS),--experiments $(EXPERIMENTS))

review: $(STAMP)  ## what this branch changes, and whether a guarded figure fell: make review BASE=main
	@python -m stages.experiments.review $(addprefix --base ,$(BASE))

release: $(STAMP)  ## tag a model as a version: make release PROJECT=mnist VERSION=v1.0.0
	@python -m stages.experiments.release $(PROJECT) $(VERSION)

cluster: $(STAMP)-ray  ## start a Ray cluster of two nodes on this machine; make cluster STOP=1 stops it
	@python -m stages.cluster $(if $(STOP),stop,start $(addprefix --port ,$(PORT)) $(addprefix --nodes ,$(NODES)) $(addprefix --cpus ,$(CPUS)))

readme-table: $(STAMP)  ## renew the README's results from reports/published/
	@python -m stages.experiments.documents

clean:  ## remove the environment and the tools' caches (data, models and reports stay)
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache

# uv installs the set in a fraction of pip's time, and compiles it as pip would, so that no start has to; pip alone does it, too:
#   python3 -m venv .venv && .venv/bin/pip install -r requirements.txt
INSTALL := $(VENV)/bin/uv pip install --python $(VENV)/bin/python --compile-bytecode
PIPELINE := $(INSTALL) --require-hashes -r requirements.txt

# make env TORCH=cpu: for Linux on x86-64 PyPI has PyTorch with CUDA only. PyTorch's own index has it without, as wheels whose hashes
# are not ours. So everything but PyTorch and CUDA is installed by hash, then PyTorch by version. A later make keeps that choice.
REST := $(VENV)/without-cuda.txt
ifneq ($(filter cpu,$(TORCH))$(wildcard $(REST)),)
PIPELINE := awk '/^[^ \#]/ {cuda = /^(torch|torchvision|triton|(nvidia|cuda)-[^=]*)==/} !cuda' requirements.txt >$(REST) \
	&& $(INSTALL) --require-hashes --no-deps -r $(REST) \
	&& $(INSTALL) --no-deps --torch-backend cpu $$(grep -oE '^(torch|torchvision)==[^ ;]+' requirements.txt)
endif

failed = { echo "error: the packages could not be installed ($$(grep -s -m 1 ^ERROR $(VENV)/install.log || echo 'see above')): \
check the network or the package index, then run make env again" >&2; exit 1; }

$(STAMP): requirements.txt
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found: install Python 3.11 or later, or name one: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "error: $$($(PYTHON) --version) found, Python 3.11 to 3.13 needed: name one with make PYTHON=python3.12" >&2; exit 1; }
	@command -v git >/dev/null || { echo "error: git not found: install it, DVC works on a git repository" >&2; exit 1; }
	@[ ! -L $(VENV) ] || { echo "error: $(VENV) is a link to $$(readlink $(VENV)), installed before requirements.txt was written here: \
if its packages are these, touch $(STAMP), else remove the link" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "error: $(PYTHON) can't create an environment: install its venv module (Debian: apt install python3-venv)" >&2; exit 1; }
	@echo "Installing the packages of requirements.txt into $(VENV) (once; 2 GB, with CUDA 7 GB)"
	@$(VENV)/bin/python -m pip install --quiet "$$(grep -o '^uv==[^ ]*' requirements.txt)" >$(VENV)/install.log 2>&1 \
		&& $(PIPELINE) || $(failed)
	@touch $@

$(STAMP)-%: requirements/%.txt $(STAMP)
	@echo "Adding the packages of $<"
	@$(INSTALL) --require-hashes -r $< || $(failed)
	@touch $@
