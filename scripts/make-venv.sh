#!/bin/sh
# make-venv.sh PYTHON FOLDER PIP-ARGUMENTS...: an environment of its own, with a current pip: older ones build from
# source what newer ones have as wheels.
set -eu
python=$1 venv=$2
shift 2
current() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
for candidate in "$python" python3.14 python3.13 python3.12 python3.11; do
    if current "$candidate"; then found=$candidate && break; fi
done
[ -n "${found:-}" ] || {
    echo "Python 3.11 or later is needed; make PYTHON=/path/to/python3.12 takes another one." >&2
    exit 1
}
echo "Setting up $venv ..." >&2
"$found" -m venv "$venv" || {
    echo "On Debian and Ubuntu: apt-get install python3-venv" >&2
    exit 1
}
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade pip
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
touch "$venv/.installed"
