#!/bin/sh
# make-venv.sh PYTHON FOLDER: the project's own environment, with the versions of constraints.txt.
set -eu
python=$1 venv=$2
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
    for newer in python3.14 python3.13 python3.12 python3.11; do
        command -v $newer >/dev/null && $newer -c '' 2>/dev/null && python=$newer && break
    done
}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Python 3.11 or later is needed; make PYTHON=/path/to/python3.12 takes another one." >&2; exit 1; }
echo "Setting up $venv ..." >&2
"$python" -m venv "$venv" || { echo "On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade pip
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
