PYTHON ?= python3
VENV := .venv
# for two cores: most of the time a test waits for a server
WORKERS := 3
RUN := $(VENV)/bin

# what fetches packages may take minutes without a word
INSTALL := $(RUN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test contract breaking compliance fuzz lint docs clean

demo: $(VENV)/demo
	@exec $(RUN)/python examples/demo.py

test: $(VENV)/test $(VENV)/docs $(VENV)/wheels
	$(RUN)/python -m pytest -n $(WORKERS) --dist loadgroup $(ARGS)

contract: $(VENV)/test
	$(RUN)/python -m tests.contract

breaking: $(VENV)/test
	for kind in gevent threads; do for error in MemoryError OSError; do \
		$(RUN)/python -m tests.breaking $$kind $$error $(ARGS) || exit 1; done; done

compliance: $(VENV)/test
	$(RUN)/python -m tests.compliance $(ARGS)

fuzz: $(VENV)/fuzz
	$(RUN)/python -m tests.fuzz $(ARGS)

lint: $(VENV)/dev
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy
	$(RUN)/lint-imports

docs: $(VENV)/docs
	$(RUN)/sphinx-build -W -q -b html docs docs/_build/html

$(VENV)/fuzz: $(VENV)/test
	@echo "Installing atheris, which fuzzes"
	$(INSTALL) --only-binary atheris atheris || { \
		echo "There is no wheel of atheris for this Python, take another: make fuzz VENV=.venv/fuzzing PYTHON=python3.12"; \
		exit 1; }
	touch $@

# what tests skip without, where this Python has a wheel of it
$(VENV)/wheels: $(VENV)/test
	@echo "Installing wsaccel, if there is a wheel for this Python"
	@$(INSTALL) --only-binary wsaccel 'wsaccel>=0.6.7' 2>/dev/null || echo "There is none; the tests of wsaccel will skip"
	@touch $@

# one stamp for each extra of setup.py
$(VENV)/%: setup.py
	@test -x $(RUN)/python || { echo "Making $(VENV) with $$($(PYTHON) --version)"; $(PYTHON) -m venv $(VENV); }
	@echo "Installing ws4redis[$*] into $(VENV); the first time this may take some minutes"
	@$(INSTALL) --editable '.[$*]'
	@touch $@

clean:
	rm -rf $(VENV) build docs/_build
