# Environments live in .venvs/, which git ignores; each is made once and reused.
PYTHON ?= python3
TOOL := $(CURDIR)/.venvs/tool
# What generated repositories run in, shared by the demo and the tests: one environment, and two on top of it.
PIPELINE := $(CURDIR)/.venvs/pipeline
EXTRAS := $(CURDIR)/.venvs/extras
VLLM := $(CURDIR)/.venvs/vllm
STACK := generator/tunesmith/stacks/2026.11
# The tool is started thousands of times in tests: it is compiled once, whatever this shell says.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test say-how-long test-fast test-long lint reference goldens pairs bench clean

demo: $(PIPELINE)/.ready  ## The whole product once: a spec becomes a repository whose pipeline runs
	rm -rf build/demo
	$(TOOL)/bin/tunesmith init support-assistant build/demo --defaults
	$(TOOL)/bin/tunesmith apply build/demo
	$(MAKE) -C build/demo smoke VENV=$(PIPELINE)
	@echo "It is in build/demo. Talk to the model: make -C build/demo serve CONFIG=configs/smoke.yaml VENV=$(PIPELINE) (build/demo/docs/serve.md says how)."
	@echo "Read its README.md, or change build/demo/pipeline.yaml and run: $(TOOL)/bin/tunesmith plan build/demo"
	@echo "The next make demo makes build/demo anew."

test: say-how-long lint $(PIPELINE)/.ready $(EXTRAS)/.ready $(VLLM)/.ready  ## Every test, the real pipelines included
	$(TOOL)/bin/pytest -m "not pipeline and not long" -n 2 --durations=15
	# Each process begins with a half of its own, so that tests of one repository stay together.
	$(TOOL)/bin/pytest -m "pipeline and not long" -n 2 --dist worksteal --durations=60

say-how-long:
	@echo "Everything takes about an hour on two cores, environments included; test-fast takes five minutes."

test-fast: lint  ## What needs no torch and no minutes
	$(TOOL)/bin/pytest -m "not pipeline and not slow and not long" -n 2

test-long: lint $(PIPELINE)/.ready $(EXTRAS)/.ready  ## Searches of which `make test` runs a part: thousands of random regenerations, all pairs of options
	$(TOOL)/bin/pytest -m long -n 2 --durations=0

lint: $(TOOL)/.ready
	$(TOOL)/bin/ruff check .
	$(TOOL)/bin/ruff format --check .
	$(TOOL)/bin/mypy
	$(TOOL)/bin/mypy --config-file templates/mypy.ini --package package
	$(TOOL)/bin/lint-imports

reference: $(TOOL)/.ready  ## After a change of spec/ or codes.py: the JSON Schema and the pages made from code
	mkdir -p build
	$(TOOL)/bin/tunesmith schema > build/schema.json
	mv build/schema.json generator/tunesmith/spec/pipeline.schema.json
	$(TOOL)/bin/python docs/reference.py

goldens: $(TOOL)/.ready  ## After a change of templates: the committed repositories that tests compare with
	$(TOOL)/bin/python tests/goldens.py

pairs: $(TOOL)/.ready  ## After a change of options or rules: the specs that hold every pair of options (minutes)
	PYTHONPATH=tests $(TOOL)/bin/python tests/option_pairs.py

bench: $(PIPELINE)/.ready $(EXTRAS)/.ready  ## plan and apply beside copier and cookiecutter, training beside TRL alone
	$(TOOL)/bin/python bench/scaffolders.py
	$(TOOL)/bin/python bench/training.py

clean:  ## Remove everything that was made here
	rm -rf build .venvs

$(TOOL)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(TOOL)
	$(TOOL)/bin/python -m pip install --quiet --upgrade pip==26.3
	$(TOOL)/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[validators]" --group dev
	touch $@

# As a repository that needs nothing special makes it, with its own `make setup`.
$(PIPELINE)/.ready: $(TOOL)/.ready $(wildcard generator/tunesmith/stacks/*/constraints.txt)
	rm -rf build/environment $(PIPELINE)
	$(TOOL)/bin/tunesmith init support-assistant build/environment --defaults
	$(TOOL)/bin/tunesmith apply build/environment
	$(MAKE) -C build/environment setup VENV=$(PIPELINE)
	touch $@

# An environment that sees all that is in $(PIPELINE), which stays as quick to import as a user's.
define on_top
	$(PYTHON) -m venv --clear $(1)
	echo $(PIPELINE)/lib/python*/site-packages > $$($(1)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/pipeline.pth
	$(1)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
endef

# What other choices of a spec need.
$(EXTRAS)/.ready: $(PIPELINE)/.ready
	$(call on_top,$(EXTRAS))
	$(EXTRAS)/bin/python -m pip install --quiet --constraint $(STACK)/constraints.txt \
		bitsandbytes deepspeed mlflow-skinny alembic sqlalchemy wandb \
		"gguf==0.19.0"  # of which a real model is read
	# Repositories look for these beside their own interpreter.
	$(EXTRAS)/bin/python -m pip install --quiet --constraint $(STACK)/constraints.txt --ignore-installed --no-deps ruff mypy
	touch $@

$(VLLM)/.ready: $(PIPELINE)/.ready $(wildcard generator/tunesmith/stacks/*/serve.txt)
	$(call on_top,$(VLLM))
	rm -rf build/environment-vllm
	$(TOOL)/bin/tunesmith init support-assistant build/environment-vllm --defaults --data engine=vllm
	$(TOOL)/bin/tunesmith apply build/environment-vllm
	$(MAKE) -C build/environment-vllm setup-serve-cpu VENV=$(VLLM)
	touch $@
