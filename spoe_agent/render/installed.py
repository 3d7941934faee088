"""What a folder of units holds already, and what is to be run once new ones are written there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from spoe_agent import written

_AGENT = "pointsman.service"
_OLLAMA = re.compile(r"ollama-(.+)\.service")
_DROP_IN = "haproxy.service.d/pointsman.conf"


def steps(texts: Mapping[str, str], folder: Path, fleet_file: str, haproxy_files: str, keeps_map: bool) -> list[str]:
    """Return the commands, for a shell of root. To be asked before the units are written. Raises OSError.

    `keeps_map`: the agent is to write its map of models among HAProxy's files.
    """
    changed = written.changed(texts, folder)
    units = [name.removesuffix(".service") for name in texts if name == _AGENT or _OLLAMA.fullmatch(name)]
    fleet, files = shlex.quote(fleet_file), shlex.quote(haproxy_files)
    return [
        f"pointsman render haproxy --fleet {fleet} --out {files}",
        f"systemd-sysusers {shlex.quote(str(folder / 'pointsman.sysusers'))} && systemctl daemon-reload",
        *([f"chown -R pointsman {files}"] if keeps_map else []),
        f"systemctl enable --now {' '.join(units)}",
        *_restarts(changed, fleet),
        *([] if (folder / _DROP_IN).exists() and _DROP_IN not in changed else ["systemctl restart haproxy"]),
        *_ends(written.left(texts, folder), folder),
    ]


def _restarts(changed: Sequence[str], fleet: str) -> Iterator[str]:
    if _AGENT in changed:
        yield "systemctl restart pointsman"
    names = _instances(changed)
    if names:
        yield f"pointsman restart --fleet {fleet} {' '.join(names)}    # drains each first"


def _ends(left: Sequence[str], folder: Path) -> Iterator[str]:
    for name in _instances(left):
        unit = f"ollama-{name}"
        file = shlex.quote(str(folder / f"{unit}.service"))
        yield f"systemctl disable --now {unit} && rm {file}    # no longer in the fleet file"


def _instances(files: Sequence[str]) -> list[str]:
    return [found[1] for found in map(_OLLAMA.fullmatch, files) if found]
