# Everything a fresh machine needs: make demo, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check haproxy bench clean

demo: $(STAMP) haproxy
	@$(BIN)/pointsman demo $(ARGS)

test: $(STAMP) haproxy check
	$(BIN)/pytest $(ARGS)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(STAMP) haproxy
	$(BIN)/python -m bench.agent_throughput $(ARGS)

haproxy:
	@sh scripts/install-haproxy.sh

# A current pip first: older ones build from source what newer ones have as wheels.
$(STAMP): pyproject.toml constraints.txt
	@sh scripts/make-venv.sh $(PYTHON) $(VENV)
	@touch $@

clean:
	rm -rf $(VENV) .venv-* build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
