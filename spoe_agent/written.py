"""Files that are rendered into a folder: written where they differ, and not over what somebody else wrote.

Beside them stands a list of what was written last, in sha256sum's form, so that `sha256sum -c .pointsman.sha256` tells
what was edited since. Its first line, a comment, says from which fleet file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from difflib import unified_diff
from hashlib import sha256
from pathlib import Path

LIST = ".pointsman.sha256"
_FROM = "# from "


def edited(texts: Mapping[str, str], folder: Path) -> list[str]:
    """Return the names of files that are neither as they are to be nor as they were written last. Raises OSError."""
    listed = _listed(folder)
    found = ((name, _digest(text), _found(folder / name)) for name, text in texts.items())
    return [name for name, due, has in found if has is not None and _digest(has) not in (due, listed.get(name))]


def another(source: Path, folder: Path) -> str:
    """Return the fleet file from which a folder's files were written, when that is another one and still there; else
    "". Raises OSError.
    """
    first = next(iter(_lines(folder)), "")
    was = first.removeprefix(_FROM)
    return was if first.startswith(_FROM) and was != str(source.resolve()) and Path(was).exists() else ""


def write(texts: Mapping[str, str], folder: Path, source: Path | None = None) -> None:
    """Write files below a folder, which is made when it is missing: each is as it was, or anew. Raises OSError.

    `source`: the fleet file that they are of; None: nobody else's come into this folder.
    """
    for name, text in texts.items():
        replace(folder / name, text)
    listed = {**_listed(folder), **{name: _digest(text) for name, text in texts.items()}}
    head = f"{_FROM}{source.resolve()}\n" if source else ""
    replace(folder / LIST, head + "".join(f"{digest}  {name}\n" for name, digest in sorted(listed.items())))


def changed(texts: Mapping[str, str], folder: Path) -> list[str]:
    """Return the names of files that are there and are to be otherwise. Raises OSError."""
    found = ((name, text, _found(folder / name)) for name, text in texts.items())
    return [name for name, text, has in found if has not in (None, text)]


def left(texts: Mapping[str, str], folder: Path) -> list[str]:
    """Return the names of files that were written into the folder before, are there, and not among these. Raises
    OSError.
    """
    return [name for name in _listed(folder) if name not in texts and (folder / name).exists()]


def differences(texts: Mapping[str, str], folder: Path) -> str:
    """Return what `write` would change, as a unified diff; "" when nothing. Raises OSError."""
    lines: list[str] = []
    for name, text in texts.items():
        has = _found(folder / name)
        before = "/dev/null" if has is None else str(folder / name)
        old, new = (has or "").splitlines(keepends=True), text.splitlines(keepends=True)
        lines += (line if line.endswith("\n") else f"{line}\n" for line in unified_diff(old, new, before, name))
    return "".join(lines)


def replace(path: Path, text: str) -> None:
    """Put a text into a file in one step, so that nobody finds half of it. Whose the file is and who may read it stay,
    and a link stays one. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if _found(path) == text:
        return
    path = path.resolve()
    beside = path.with_name(f".{path.name}.new")
    if path.exists():
        beside.touch(mode=0o600)
    beside.write_text(text, encoding="utf-8")
    if path.exists():
        was = path.stat()
        with suppress(PermissionError):
            os.chown(beside, was.st_uid, was.st_gid)
        beside.chmod(was.st_mode & 0o777)
    beside.replace(path)


def _found(path: Path) -> str | None:
    """Return a file's text; None: there is none. What is not text is told apart from any text all the same."""
    return path.read_bytes().decode("utf-8", "backslashreplace") if path.exists() else None


def _listed(folder: Path) -> dict[str, str]:
    return {name: digest for digest, _, name in (line.partition("  ") for line in _lines(folder)) if name}


def _lines(folder: Path) -> list[str]:
    with suppress(FileNotFoundError, UnicodeDecodeError):
        return (folder / LIST).read_text(encoding="utf-8").splitlines()
    return []


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
