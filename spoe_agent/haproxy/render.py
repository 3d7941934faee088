"""HAProxy's files from the fleet file: haproxy.cfg, spoe-pointsman.conf, maps of models and keys, origins and hosts,
errors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from spoe_agent import written
from spoe_agent.door.app import MODELS, OF_BODIES, REQUEST_ID
from spoe_agent.door.catalogue import ANSWERS, MODEL_LISTS
from spoe_agent.fleet.resolved import LOCAL_HOST, Fleet, Instance
from spoe_agent.fleet.specs import specs
from spoe_agent.fleet.units import Listen, duration
from spoe_agent.fleet.urls import is_name
from spoe_agent.haproxy import contract, key_maps
from spoe_agent.haproxy.contract import HOLD_GRACE_S, LATER, Question
from spoe_agent.haproxy.key_maps import KEYS_MAP, RIGHTS_MAP
from spoe_agent.haproxy.models_map import MODELS_MAP, entries, text
from spoe_agent.haproxy.names import HOSTS, RESOLVERS, in_hosts_file, server_options
from spoe_agent.haproxy.quoting import all_but, literal, quoted
from spoe_agent.keys.entry import OPEN_LINE
from spoe_agent.keys.file import Keys
from spoe_agent.keys.file import read as read_keys
from spoe_agent.keys.keyring import Lack
from spoe_agent.requests import foreign, glimpse, wishes
from spoe_agent.requests.caller import FORWARDED_FOR, HOPS
from spoe_agent.requests.changes import CHANGE_BYTES, CHANGE_PATHS
from spoe_agent.requests.errors import ERROR_FORMS, error_type
from spoe_agent.requests.foreign import glob_regex
from spoe_agent.requests.request_id import WELL_FORMED
from spoe_agent.routing import surface
from spoe_agent.routing.choice import STATUS, Reason
from spoe_agent.routing.names import DEFAULT_HOST, DEFAULT_NAMESPACE, DEFAULT_TAG
from spoe_agent.routing.rejections import NO_MANAGEMENT
from spoe_agent.routing.surface import (
    BLOB_PATH,
    DESCRIBE_PATH,
    FORM_PATH,
    INFERENCE_PATHS,
    KNOWN_PATHS,
    MODEL_PATH,
    Dialect,
)

MAPS = (MODELS_MAP, KEYS_MAP, RIGHTS_MAP)
"""What is written while HAProxy runs."""

OWN_ERRORS = (400, 408, 413, 500, 502, 503, 504)
"""Statuses that HAProxy itself answers with; each has its own body."""

LEAST_HOT_BUFFERS, HOT_BUFFERS = 4, 16
"""How many buffers each thread of HAProxy keeps. One large body goes through three; with less than four, the kernel is
asked for new pages with each body, which takes longer than all else that HAProxy does for it."""

BODY_HEADROOM_BYTES = 65_536
"""What `tune.bufsize` is larger than the inspected part of a body: headers and HAProxy's own reserve."""

HOT_BYTES = 512 * 1024 * 1024
"""Of more than the least, what a thread keeps if bodies fill them; of buffers only what bodies touched takes memory."""

H2_FRAME_BYTES = 2**24 - 1
"""The most that SETTINGS_MAX_FRAME_SIZE may be (RFC 9113, 6.5.2)."""

REJECTIONS = sorted({*STATUS.values()})
"""Statuses of a Choice that rejects."""

ALONE_BYTES = 1024 * 1024
"""The largest body in which HAProxy itself, without the agent, looks for the model of a key that may not use all: for
much more, its regexes would give up."""

UNREACHED = "x-pointsman-unreached"
"""Header between HAProxy's own proxies: no instance answered, but one of them, with this status."""

MAX_PASSES = 8
"""A request goes around at most so often, however many instances there are."""


def haproxy_files(fleet: Fleet, hosts: Path = HOSTS, keys: Keys | None = None) -> dict[str, str]:
    """Return HAProxy's whole configuration for a fleet: text by relative file name.

    `hosts`: the file of names that HAProxy must not ask DNS for. `keys`: as their file has them, if left out.
    Raises FleetError when that cannot be read.
    """
    policies, spec = fleet.policies, specs(fleet)
    return {
        "haproxy.cfg": _config(fleet, in_hosts_file(hosts)),
        "spoe-pointsman.conf": _engine(fleet),
        MODELS_MAP: text(spec, entries(spec)),
        **_maps_of_keys(fleet, keys),
        "origins.lst": "".join(f"{glob_regex(origin)}\n" for origin in policies.allowed_origins),
        "hosts.lst": "".join(f"{glob_regex(host)}\n" for host in policies.allowed_hosts),
        **_error_bodies(),
    }


def _maps_of_keys(fleet: Fleet, keys: Keys | None) -> dict[str, str]:
    if fleet.keys is None:
        return {}
    return key_maps.texts(key_maps.key_lines(read_keys(Path(fleet.keys.file)) if keys is None else keys))


def _template(name: str) -> Template:
    environment = Environment(
        loader=PackageLoader("spoe_agent.haproxy"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals |= {"contract": contract, "seconds": duration, "of_bodies": OF_BODIES, "all_but": all_but}
    environment.globals |= {"error_type": error_type, "dialects": Dialect, "reasons": Reason, "lacks": Lack}
    environment.globals["literal"] = literal
    return environment.get_template(name)


_PATHS: Mapping[str, object] = {
    "change_paths": CHANGE_PATHS,
    "inference_paths": sorted(INFERENCE_PATHS),
    "model_paths": [*sorted(INFERENCE_PATHS), DESCRIBE_PATH],
    "model_path": MODEL_PATH,
    "blob_path": BLOB_PATH,
    "form_path": FORM_PATH,
}
"""What the rules go by, by what a path is for."""


def _config(fleet: Fleet, known: frozenset[str]) -> str:
    instances = [_server(instance, known) for instance in fleet.instances]
    agents = [_agent(listen.local, known) for listen in fleet.haproxy.spop or fleet.listeners.spop]
    lists_at = _agent(fleet.listeners.door.local, known)
    policies = fleet.policies
    bufsize = policies.max_inspected_body + BODY_HEADROOM_BYTES
    return _template("haproxy.cfg.j2").render(
        instances=instances,
        proxied=[one for one in instances if one["proxy"]],
        policies=policies,
        foreign=foreign,
        hops=HOPS,
        forwarded_for=f"^{FORWARDED_FOR.pattern}".replace('"', r"\""),
        checks_host=fleet.checks_host,
        local_host=LOCAL_HOST,
        bufsize=bufsize,
        h2_frame_bytes=H2_FRAME_BYTES,
        hot_bytes=min(HOT_BUFFERS * bufsize, max(HOT_BYTES, LEAST_HOT_BUFFERS * bufsize)),
        body=glimpse,
        front=str(fleet.listeners.front),
        **_of_door(fleet),
        surface=surface,
        prefix=fleet.listeners.prefix,
        prefix_regex=re.escape(fleet.listeners.prefix),
        log_address=str(fleet.listeners.log.local),
        check=fleet.listeners.check.local if policies.limits.follow else None,
        agents=agents,
        resolvers=RESOLVERS if any(RESOLVERS in str(one) for one in (*instances, *agents, lists_at)) else "",
        default_host=re.escape(DEFAULT_HOST),
        default_namespace=DEFAULT_NAMESPACE,
        default_tag=DEFAULT_TAG,
        errors=ERROR_FORMS,
        own_errors=OWN_ERRORS,
        unreached=UNREACHED,
        rejections=REJECTIONS,
        change_bytes=CHANGE_BYTES,
        request_id=WELL_FORMED,
        **_PATHS,
        wishes=wishes,
        models_map=MODELS_MAP,
        again=str(fleet.listeners.again),
        peers=str(fleet.listeners.peers),
        lists_at=lists_at,
        listed=sorted(ANSWERS),
        request_id_header=REQUEST_ID,
        passes=min(len(fleet.instances), MAX_PASSES),
        retry_after=specs(fleet).policy.retry_after_s,
    )


def _of_door(fleet: Fleet) -> dict[str, object]:
    """Return what says who may come in, and how."""
    tls, port = fleet.tls, fleet.listeners.front.port
    bound = f" ssl crt {quoted(tls.certificate)} alpn h2,http/1.1 ssl-min-ver TLSv1.2" if tls else ""
    return {
        "keys": fleet.keys,
        "keys_map": KEYS_MAP,
        "rights_map": RIGHTS_MAP,
        "open_line": OPEN_LINE,
        "no_management": NO_MANAGEMENT,
        "known_paths": sorted(KNOWN_PATHS),
        "model_lists": sorted(MODEL_LISTS),
        "models_header": MODELS,
        "alone_bytes": ALONE_BYTES,
        "front_tls": bound,
        "redirect_from": tls.redirect_from if tls else None,
        "https_port": "" if port == 443 else f":{port}",
        "line": contract.line(fleet.policies.log_caller),
    }


def _engine(fleet: Fleet) -> str:
    held_s = specs(fleet).longest_hold_s
    return _template("spoe-pointsman.conf.j2").render(
        later={name: asked for name, asked in LATER.items() if held_s or name is not Question.HOLD},
        traced=fleet.policies.traces.endpoint is not None,
        held=duration(held_s) if held_s else "",
        hold_processing=duration(held_s + HOLD_GRACE_S),
    )


def write(texts: dict[str, str], folder: Path, source: Path | None = None) -> None:
    """Write rendered files below a folder, as `written.write` does. Raises OSError."""
    written.write(due(texts, folder), folder, source)


def edited(texts: dict[str, str], folder: Path) -> list[str]:
    """Return the names of files that somebody else wrote, as `written.edited` does; maps are the agent's to write.
    Raises OSError.
    """
    return written.edited({name: content for name, content in texts.items() if name not in MAPS}, folder)


def due(texts: dict[str, str], folder: Path) -> dict[str, str]:
    """Return the files without the map of models where that may stay: what the agent has written into it since holds as
    long as the fleet is the same. Raises OSError.
    """
    path = folder / MODELS_MAP
    stays = path.exists() and is_current(MODELS_MAP, path.read_text(errors="replace"), texts[MODELS_MAP])
    return {name: content for name, content in texts.items() if not (stays and name == MODELS_MAP)}


def is_current(name: str, found: str | None, rendered: str) -> bool:
    """Tell whether a file's content need not be rendered anew. None: there is no such file."""
    if name == MODELS_MAP and found is not None:
        return found.partition("\n")[0] == rendered.partition("\n")[0]
    if name in MAPS and found is not None:
        return True  # keys come and go without the fleet file
    return found == rendered


def _server(instance: Instance, known: frozenset[str]) -> dict[str, object]:
    address, options = str(Listen(instance.host, instance.port)), server_options(instance.host, known)
    proxy = None
    if instance.onward is not None:
        proxy = {
            "address": address,
            "options": options + _tls(instance),
            "prefix": instance.prefix,
            "host_header": instance.host_header,
        }
        # No unix socket: paths are looked for below a chroot, and with abstract ones HAProxy 2.6 crashes at a reload.
        address, options = str(instance.onward), ""
    return {
        "name": instance.name,
        "tag": instance.tag,
        "address": address,
        "options": options,
        "proxy": proxy,
        "max_connections": instance.max_connections,
        "num_parallel": instance.num_parallel,
    }


def _tls(instance: Instance) -> str:
    """Return how a server proves who it is. HAProxy compares names only (fleet.proxied)."""
    if not instance.has_tls:
        return ""
    name = f" sni str({instance.host})" if is_name(instance.host) else ""
    return f" ssl verify required ca-file {quoted(instance.ca_file or '@system-ca')}{name}"


def _agent(listen: Listen, known: frozenset[str]) -> dict[str, object]:
    options = "" if listen.path is not None else server_options(listen.host, known)
    return {"address": str(listen), "options": options}


def _error_bodies() -> dict[str, str]:
    folder = files("spoe_agent.haproxy") / "templates" / "errors"
    # Without the newline at a file's end: clients show an error as it comes.
    return {f"errors/{one.name}": one.read_text().rstrip() for one in sorted(folder.iterdir(), key=lambda e: e.name)}
