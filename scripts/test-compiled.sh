#!/bin/sh
# test-compiled.sh PYTHON: tests of what can be compiled and of what calls it, against a compiled build far from the sources.
set -eu
python=$1
built=build/compiled
rm -rf "$built"
mkdir -p "$built"
POINTSMAN_COMPILE=1 "$python" -m hatchling build -t wheel -d "$built/dist"
"$python" -m zipfile -e "$built"/dist/*.whl "$built"
cp -r tests pyproject.toml "$built"
cd "$built"
"$python" -m spoe_agent --version | grep compiled
exec "$python" -m pytest -q -n 3 --dist loadfile \
    tests/routing tests/spop tests/requests tests/agent tests/instances tests/test_service.py tests/test_assemble.py \
    tests/haproxy/test_bridge.py tests/haproxy/test_contact.py tests/haproxy/test_entrance.py tests/haproxy/test_log.py \
    tests/haproxy/test_passing.py tests/haproxy/test_processes.py tests/haproxy/test_questions.py tests/haproxy/test_server*.py
