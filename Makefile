# On a machine with only Python (>= 3.11) and make, each of these does all the set-up by itself.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready

.PHONY: search test lint docs bench clean

search: $(READY)
	$(BIN)/python -m pipeline.search --study hw3

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/python -m benchmarks.site

bench: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m benchmarks.augment
	$(BIN)/python -m benchmarks.loop
	$(BIN)/python -m benchmarks.memmap
	$(BIN)/python -m benchmarks.report
	$(BIN)/python -m benchmarks.utilisation

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,docs,notify,onnx]'
	touch $@

clean:
	rm -rf $(VENV) .venv-other .site .cache
