"""From a file to a fleet, or to all that is wrong with it.

Lives here: the order of the steps, and how a section with bad values is still checked for the rest.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from spoe_agent.fleet.checks import CHECKS
from spoe_agent.fleet.document import Document, read
from spoe_agent.fleet.problems import Finding, FleetError, Path, Problem, dotted
from spoe_agent.fleet.resolved import Fleet, resolve
from spoe_agent.fleet.schema import FleetDraft, FleetFile
from spoe_agent.fleet.units import Listen
from spoe_agent.fleet.wording import finding

PLACES = (FilePath("fleet.yaml"), FilePath("/etc/pointsman/fleet.yaml"))
"""Where a fleet file is looked for when none is named."""
_LISTS_OF_SECTIONS = ("gpus", "instances", "models")


def find(path: FilePath | None, places: Sequence[FilePath] = PLACES) -> FilePath:
    """Return the fleet file to use: the one that is named, else the first of `places` that exists.

    Raises:
        FleetError: none is named and none exists.
    """
    if path is not None:
        return path
    for place in places:
        if os.path.exists(place):  # Path.exists raises where one may not look
            return place
    looked = " and ".join(map(str, places))
    hint = "name one with --fleet, or have `pointsman init` write one"
    raise FleetError([Problem("fleet.yaml", None, "", f"no fleet file: looked for {looked}", hint)])


def load(path: FilePath | str) -> Fleet:
    """Read a fleet file.

    Raises:
        FleetError: it cannot be read or used; lists everything that is wrong.
    """
    return parse(read_bytes(path), str(path))


def admin_address(path: FilePath) -> tuple[Listen, tuple[Problem, ...]]:
    """Return where the agent of a fleet file is asked, also when the file cannot be used, with what is wrong with it:
    whoever has broken it may need the agent most. What cannot be read of it is taken to be the default.

    Raises:
        FleetError: there is no file that can be read.
    """
    data = read_bytes(path)
    try:
        return parse(data, str(path)).listeners.admin, ()
    except FleetError as error:
        problems = error.problems
    try:
        readable, _ = _readable(read(data.decode("utf-8-sig", "replace"), str(path)).data)
    except FleetError:
        readable = {}
    return FleetDraft.model_validate(readable).listeners.admin, problems


def read_bytes(path: FilePath | str) -> bytes:
    """Return what is in a fleet file. Raises FleetError."""
    try:
        return FilePath(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        hint = "check the path and its permissions"
        raise FleetError([Problem(str(path), None, "", f"cannot be read: {reason}", hint)]) from None


def parse(data: bytes, file: str) -> Fleet:
    """Return the fleet of a file's bytes; `file` is what messages call it. Raises FleetError."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FleetError([Problem(file, None, "", "is not UTF-8 text", f"look at byte {error.start}")]) from None
    return loads(text, file=file)


def loads(text: str, file: str = "fleet.yaml") -> Fleet:
    """Read a fleet file's text; `file` is what messages call it.

    Raises:
        FleetError: lists everything that is wrong, cross checks included as far as the parts involved are readable.
    """
    document = read(text, file)
    findings = list(_schema_findings(document))
    data, unreadable = _readable(document.data)
    merged = _with_defaults(data)
    draft = FleetDraft.model_validate(merged)
    for check in CHECKS:
        findings += (found for found in check(draft) if _rests_on_readable(found, unreadable | document.unread))
    problems = [*document.problems, *(_problem(found, document) for found in findings)]
    if problems:
        raise FleetError(problems)
    return resolve(FleetFile.model_validate(merged))


def _schema_findings(document: Document) -> Iterator[Finding]:
    said = {problem.key for problem in document.problems}  # while the YAML was read
    try:
        FleetFile.model_validate(document.data)
    except ValidationError as error:
        found = (finding(details, document) for details in _errors(error))
        yield from (one for one in found if dotted(one.path) not in said)


def _errors(error: ValidationError) -> list[ErrorDetails]:
    """Return pydantic's errors, but not that a list is too short because its refused entries do not count."""
    return [details for details in error.errors() if details["type"] != "too_short" or not details["input"]]


def _readable(data: dict[str, Any]) -> tuple[dict[str, Any], set[Path]]:
    """Return the data without what the schema refuses, and where that was."""
    data = deepcopy(data)
    unreadable: set[Path] = set()
    while True:
        try:
            FleetDraft.model_validate(data)
            return data, unreadable
        except ValidationError as error:
            refused = {_removable(data, details["loc"]) for details in error.errors()}
        # What is inside of something else that goes, goes with it.
        refused = {path for path in refused if not any(path[:depth] in refused for depth in range(len(path)))}
        for path in refused:
            _remove(data, path)
        unreadable |= refused


def _removable(data: dict[str, Any], loc: Path) -> Path:
    """Return what to take out for a refused value: the nearest key, or the whole entry if that is no section at all."""
    if len(loc) == 2 and loc[0] in _LISTS_OF_SECTIONS:
        return loc
    nearest, here = 0, data
    for position, step in enumerate(loc):
        if isinstance(here, dict) and step in here:
            nearest = position
        elif not (isinstance(here, list) and isinstance(step, int)):  # pydantic's own marks, like the member of a union
            break
        here = here[step]
    return loc[: nearest + 1]


def _remove(data: Any, path: Path) -> None:
    """Take a value out; in a list leave an empty section, so that the others keep their places."""
    for step in path[:-1]:
        data = data[step]
    if isinstance(data, list):
        data[int(path[-1])] = {}
    else:
        del data[path[-1]]


def _with_defaults(data: dict[str, Any]) -> dict[str, Any]:
    """Merge `defaults` under each instance."""
    defaults = data.get("defaults") or {}
    instances = [_merge(defaults, instance or {}) for instance in data.get("instances") or []]
    return {**data, "instances": instances} if instances else data


def _merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return both mappings as one: mappings key by key, else `over` wins. Keys without a value do not count."""
    merged = {key: value for key, value in under.items() if value is not None}
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        elif value is not None:
            merged[key] = value
    return merged


def _rests_on_readable(found: Finding, unreadable: set[Path]) -> bool:
    return not any(place[: len(gone)] == gone for place in found.depends for gone in unreadable)


def _problem(found: Finding, document: Document) -> Problem:
    return Problem(document.file, document.line(found.path), dotted(found.path), found.message, found.hint)
