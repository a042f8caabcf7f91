PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin

.PHONY: demo test compliance fuzz lint docs clean

demo: $(VENV)/demo
	@exec $(RUN)/python examples/demo.py

test: $(VENV)/test
	$(RUN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

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
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --only-binary atheris atheris || { \
		echo "There is no wheel of atheris for this Python, take another: make fuzz VENV=.venv/fuzzing PYTHON=python3.12"; \
		exit 1; }
	touch $@

# one stamp for each extra of setup.py
$(VENV)/%: setup.py
	test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	touch $@

clean:
	rm -rf $(VENV) build docs/_build
