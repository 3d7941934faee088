"""`pointsman key`: makes keys for clients, and takes them back."""

from __future__ import annotations

import asyncio
import re
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from spoe_agent.fleet import Fleet, FleetError, find, load
from spoe_agent.fleet.option import fleet_option
from spoe_agent.haproxy.key_maps import key_lines
from spoe_agent.haproxy.key_places import put
from spoe_agent.keys import file
from spoe_agent.keys.entry import Key, hash_of, new_secret
from spoe_agent.requests.wishes import PRIORITIES
from spoe_agent.routing.rights import MOST_URGENT

RELOAD_DEADLINE_S = 60.0

NO_PLACE = (
    "pointsman up and mitmproxy follow it. Any other HAProxy was not told, because the fleet file names neither its "
    "folder (haproxy.files) nor its socket (haproxy.runtime): it goes by the old keys until you render and reload"
)

_SPANS_S = {"m": 60, "h": 3600, "d": 86400}


@click.group()
def key() -> None:
    """Keys that clients must have (section `keys` of the fleet file).

    What is changed holds at once where the fleet file names HAProxy's admin socket (haproxy.runtime), within a second
    where the agent runs that has one, and else after HAProxy's reload, which is done. Exit status 1: something went
    wrong; what, and what to do, is said.
    """


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(
        (
            click.option("--models", help="Names and patterns, with commas between: llama3.1:8b,qwen*. Else all."),
            click.option(
                "--priority",
                help="interactive (0), batch (100), or -100 to 100: no request is more urgent. Else its model's.",
            ),
            click.option("--weight", type=float, help="Share of held requests; 2 gets twice as much as 1."),
            click.option("--rpm", type=int, help="Requests in a minute."),
            click.option("--concurrent", type=int, help="Requests that run a model at a time."),
            click.option("--manage", is_flag=True, help="May pull, create, copy, push and delete models."),
            click.option("--expires", help="A day (2027-01-31, UTC), or a time from now (24h, 90d)."),
        )
    ):
        command = option(command)
    return command


@key.command()
@click.argument("name")
@fleet_option
@_options
def add(name: str, fleet_file: Path | None, **given: Any) -> None:
    """Make a key and print it. It is shown this once: its hash is kept, and nothing else."""
    fleet, path = _fleet(fleet_file)
    secret = new_secret()
    made = _made(name, secret, given)

    def edit(keys: file.Keys) -> file.Keys:
        if any(one.name == name for one in keys):
            raise click.ClickException(f"there is a key {name}; take another name, or: pointsman key rotate {name}")
        return (*keys, made)

    _give(secret, _changed(fleet, path, edit))


@key.command()
@click.argument("name")
@fleet_option
def rotate(name: str, fleet_file: Path | None) -> None:
    """Put a new key in the place of one, with the same rights, and print it. The old one is refused from then on."""
    fleet, path = _fleet(fleet_file)
    secret = new_secret()

    def edit(keys: file.Keys) -> file.Keys:
        _known(name, keys)
        return tuple(one.model_copy(update={"hash": hash_of(secret)}) if one.name == name else one for one in keys)

    _give(secret, _changed(fleet, path, edit))


@key.command()
@click.argument("name")
@fleet_option
def revoke(name: str, fleet_file: Path | None) -> None:
    """Take a key back. What runs with it comes to its end."""
    fleet, path = _fleet(fleet_file)

    def edit(keys: file.Keys) -> file.Keys:
        _known(name, keys)
        return tuple(one for one in keys if one.name != name)

    _fail_if(_changed(fleet, path, edit))
    click.echo(f"{name} is revoked", err=True)


@key.command("list")
@fleet_option
def list_keys(fleet_file: Path | None) -> None:
    """Print the keys' names and rights."""
    _, path = _fleet(fleet_file)
    for one in _read(path):
        click.echo("  ".join([one.name, *_told(one)]))


def _told(one: Key) -> list[str]:
    said = [f"models {','.join(one.models)}"] if one.models is not None else []
    for name, value, usual in (
        ("priority", one.priority, MOST_URGENT),
        ("weight", one.weight, 1),
        ("rpm", one.rpm, 0),
        ("concurrent", one.concurrent, 0),
    ):
        said += [f"{name} {value:g}"] if value != usual else []
    said += ["manage"] if one.manage else []
    if one.expires_s:
        when = datetime.fromtimestamp(one.expires_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
        said.append(f"{'expired' if one.expires_s <= time.time() else 'expires'} {when}")
    return said


def _fleet(fleet_file: Path | None) -> tuple[Fleet, Path]:
    try:
        fleet = load(find(fleet_file))
    except FleetError as error:
        raise click.ClickException(str(error)) from error
    if fleet.keys is None:
        hint = "write keys: {file: /etc/pointsman/keys/keys.json}, then pointsman apply"
        raise click.ClickException(f"the fleet file asks for no keys; {hint}")
    return fleet, Path(fleet.keys.file)


def _read(path: Path) -> file.Keys:
    try:
        return file.read(path)
    except FleetError as error:
        raise click.ClickException(str(error)) from error


def _known(name: str, keys: file.Keys) -> None:
    if not any(one.name == name for one in keys):
        raise click.ClickException(f"there is no key {name}; pointsman key list shows those there are")


def _made(name: str, secret: str, given: dict[str, Any]) -> Key:
    models, priority, expires = given.pop("models"), given.pop("priority"), given.pop("expires")
    if models and given["manage"]:
        # Who may copy and create makes a model of any other's name.
        raise click.ClickException("a key that may change models may use all of them: --manage goes without --models")
    rights = {what: value for what, value in given.items() if value is not None}
    if models is not None:
        rights["models"] = tuple(part for part in (part.strip() for part in models.split(",")) if part)
        if not rights["models"]:
            raise click.ClickException("--models names none; left out, the key may use all")
    if priority is not None:
        rights["priority"] = PRIORITIES.get(priority, priority)
    if expires is not None:
        rights["expires_s"] = _when(expires)
    try:
        return Key(name=name, hash=hash_of(secret), **rights)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise click.ClickException(f"{first['loc'][0]}: {first['msg']}") from None


def _when(text: str) -> int:
    """Return seconds since 1970."""
    span = re.fullmatch(r"([0-9]{1,6})([mhd])", text)
    try:
        at_s = (
            round(time.time()) + int(span[1]) * _SPANS_S[span[2]]
            if span
            else int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
        )
    except ValueError:
        said = f"--expires: {text!r} is neither a day like 2027-01-31 nor a time like 90d, 24h or 30m"
        raise click.ClickException(said) from None
    if at_s <= time.time():
        raise click.ClickException(f"--expires: {text} is over")
    return at_s


def _changed(fleet: Fleet, path: Path, edit: Callable[[file.Keys], file.Keys]) -> str:
    """Write the file, and have HAProxy know. Return what went wrong there, and what to do; "" where nothing did."""
    settings = fleet.haproxy
    with ExitStack() as alone:
        try:
            keys = alone.enter_context(file.changed(path, edit))
        except (FleetError, OSError) as error:
            raise click.ClickException(f"the keys are as they were: {error}") from error
        # Before others write: else this list could come to HAProxy after theirs.
        failed = {place: why for place, why in asyncio.run(put(settings, key_lines(keys))).items() if why}
    if settings.files is None and not settings.runtime:
        said = f"{path} is written; {NO_PLACE}: pointsman render haproxy --out FOLDER, then: {settings.reload}"
        click.echo(said, err=True)
    if settings.files and not settings.runtime and not failed:
        failed = _reloaded(settings.reload)
    if not failed:
        return ""
    wrong = "; ".join(f"{place}: {why}" for place, why in failed.items())
    do = f"pointsman render haproxy --out {settings.files or 'FOLDER'}, then: {settings.reload}"
    return f"{path} is written, but HAProxy may go by the old keys: {wrong}; if no agent tells it (see its log): {do}"


def _give(secret: str, wrong: str) -> None:
    """Print a new key: it is in the file, whatever went wrong at HAProxy, and shown only now."""
    click.echo(secret)
    _fail_if(wrong)


def _fail_if(wrong: str) -> None:
    if wrong:
        raise click.ClickException(wrong)


def _reloaded(command: str) -> dict[str, str]:
    """Reload HAProxy, which has no socket to be told by; return what went wrong."""
    try:
        done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=RELOAD_DEADLINE_S)
    except subprocess.TimeoutExpired:
        return {command: f"took more than {RELOAD_DEADLINE_S:.0f} s"}
    return {command: done.stderr.strip() or f"status {done.returncode}"} if done.returncode else {}
