# Everything a fresh machine needs: make demo, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check clients bench bench-policies bench-live haproxy nginx chromium clean

# `make demo ARGS="--front mitmproxy"` needs no HAProxy.
demo: $(VENV)/.installed $(if $(findstring mitmproxy,$(ARGS)),,haproxy)
	@$(BIN)/pointsman demo $(ARGS)

# A module's tests stay together: they share what was started for them. ARGS="-n 0" runs all in one process.
test: $(VENV)/.installed .venv-clients/.installed haproxy nginx chromium check
	$(BIN)/pytest -n 3 --dist loadfile $(ARGS)

# A wheel whose agent takes a quarter less time for a request, for those who want one: POINTSMAN_COMPILE=1 pip wheel --no-deps .
test-compiled: $(VENV)/.installed
	sh scripts/test-compiled.sh "$(CURDIR)/$(BIN)/python"

check: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The whole table of clients (tests/e2e/conformance.py). CI has the official Python clients and curl alone: frameworks and
# aider take 1.2 GB. Clients of the npm registry need Node.js, Ollama's own program is $OLLAMA_BIN.
clients: $(VENV)/.installed .venv-clients/.installed .venv-frameworks/.installed .venv-aider/.installed haproxy
	-cd tests/e2e/clients && npm ci --no-audit --no-fund
	$(BIN)/pytest -rs tests/e2e/test_clients.py $(ARGS)

bench: $(VENV)/.installed haproxy
	$(BIN)/python -m bench.agent_throughput $(ARGS)

# Routing on virtual time: policies of the field and ours.
bench-policies: $(VENV)/.installed
	$(BIN)/python -m bench.policies $(ARGS)

# Real fronts before simulated instances; nginx is compared too where it is installed (apt-get install nginx-light).
bench-live: $(VENV)/.installed haproxy
	$(BIN)/python -m bench.live $(ARGS)

haproxy:
	@sh scripts/install.sh haproxy

# Only one arm of `bench live` needs it; without it that arm's test is skipped.
nginx:
	-@sh scripts/install.sh nginx

# Only the dashboard's tests in a browser need it; without it they are skipped.
chromium:
	-@sh scripts/install.sh chromium

$(VENV)/.installed: pyproject.toml constraints.txt
	@sh scripts/make-venv.sh "$(PYTHON)" $(VENV) -c constraints.txt -e '.[dev]'

# The official clients for the end-to-end tests: what they need may clash with what mitmproxy needs.
.venv-clients/.installed: tests/e2e/clients/requirements.txt
	@sh scripts/make-venv.sh "$(PYTHON)" .venv-clients -r tests/e2e/clients/requirements.txt

.venv-frameworks/.installed: tests/e2e/clients/frameworks.txt
	@sh scripts/make-venv.sh "$(PYTHON)" .venv-frameworks -r tests/e2e/clients/frameworks.txt

# On its own, because aider demands a version of each of a hundred packages.
.venv-aider/.installed: tests/e2e/clients/aider.txt
	@sh scripts/make-venv.sh "$(PYTHON)" .venv-aider -r tests/e2e/clients/aider.txt

clean:
	rm -rf $(VENV) .venv-clients .venv-frameworks .venv-aider tests/e2e/clients/node_modules build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
