"""Types of single values in the fleet file: durations, sizes, addresses, names.

Lives here: how one value is read from text, and its JSON schema. Must not live here: rules that need two values.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Any

import durationpy
from pydantic import (
    AfterValidator,
    AnyUrl,
    BeforeValidator,
    ByteSize,
    Field,
    PlainValidator,
    StringConstraints,
    UrlConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

_GO_DURATION = r"^[+-]?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$"
_SIZE = r"^\s*([0-9]*\.)?[0-9]+\s*([kKmMgGtTpP][iI]?)?[bB]?\s*$"
_UNIX_PATH = r"/[A-Za-z0-9_./@%+-]{1,106}"  # sun_path holds 108 bytes with the final NUL (unix(7))
_PCI = re.compile(r"(?:[0-9a-f]{0,4}([0-9a-f]{4}):)?([0-9a-f]{2}:[0-9a-f]{2}\.[0-7])", re.IGNORECASE)
_GPU_UUID = re.compile(r"(GPU|MIG)-[A-Za-z0-9/-]{4,80}", re.ASCII)
_HAPROXY_TIMER_MAX_S = 2_147_483  # HAProxy keeps times as milliseconds in 31 bits (configuration.txt 2.5)
_MAX_NAME = 64
WILDCARD_HOSTS = frozenset({"0.0.0.0", "::"})


@dataclass(frozen=True, slots=True)
class Listen:
    """An address: either a unix socket (`path`) or TCP or UDP (`host`, `port`)."""

    host: str = ""
    port: int = 0
    path: str | None = None
    """Absolute path of a unix socket; None for host and port."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it over the network."""
        try:
            return self.host == "localhost" or ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix@{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _refuse(kind: str, message: str, hint: str) -> PydanticCustomError:
    return PydanticCustomError(kind, "{message}", {"message": message, "hint": hint})


def _seconds(value: object) -> object:
    """Read a Go duration; numbers are seconds already and go on as they are."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _refuse("duration", "must be a duration", "write 30s, 5m or 1h30m; a plain number is seconds")
    if not isinstance(value, str):
        return value
    # durationpy knows days and months too ("5mm"), Ollama does not: Go's own units only.
    if not re.match(_GO_DURATION, value):
        raise _refuse("duration", "is not a duration", "write 30s, 5m or 1h30m; a plain number is seconds")
    try:
        return durationpy.from_str(value).total_seconds()
    except durationpy.DurationError as error:
        raise _refuse("duration", str(error)[:80], "write 30s, 5m or 1h30m; a plain number is seconds") from None


def _size(value: object, read: ValidatorFunctionWrapHandler) -> ByteSize:
    """Let pydantic read the size; say in one form what is wrong when it cannot."""
    try:
        if not isinstance(value, bool):
            return ByteSize(read(value))
    except (ValidationError, OverflowError):
        pass
    raise _refuse("size", "is not a size", "write 24GiB, 512MiB or a number of bytes")


def _at_least(least: int, what: str) -> WrapValidator:
    """Refuse less than anything real has: a plain number is bytes, and nearly always meant as GiB."""

    def read(value: object, inner: ValidatorFunctionWrapHandler) -> ByteSize:
        size = ByteSize(inner(value))
        if size >= least:
            return size
        plain = isinstance(value, int) or (isinstance(value, str) and value.strip().isdigit())
        unit = "GiB" if size < 1024 else "MiB"
        hint = f"a plain number is bytes: did you mean {value}{unit}?" if plain else "write it like 24GiB or 512MiB"
        raise _refuse("size", f"is too little for {what}", hint)

    return WrapValidator(read)


def _host_port(value: object) -> Listen:
    hint = "write HOST:PORT, like 127.0.0.1:11434"
    try:
        url = AnyUrl(f"http://{value}")
    except ValidationError:
        raise _refuse("listen", "is not an address", hint) from None
    host = (url.host or "").strip("[]")
    listen = Listen(host=host, port=url.port or 0)
    # Equal to what was written: then there was no user, path, default port or odd form of a number in it.
    if not listen.port or str(listen) != str(value).lower():
        raise _refuse("listen", "is not an address", hint)
    return listen


def _host_port_or_unix(value: object) -> Listen:
    if not isinstance(value, str) or not value.startswith("unix@"):
        return _host_port(value)
    path = value.removeprefix("unix@")
    if not re.fullmatch(_UNIX_PATH, path):
        hint = "write unix@ and an absolute path of at most 107 plain characters, like unix@/run/pointsman/spop.sock"
        raise _refuse("listen", "is not the path of a socket", hint)
    return Listen(path=path)


def _gpu_id(value: object) -> int | str:
    """Read an index, a UUID, or a PCI bus id in the form of lspci or of nvidia-smi (domain of 8 digits)."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1024:
        return value
    if isinstance(value, str):
        if _GPU_UUID.fullmatch(value):
            return value
        if pci := _PCI.fullmatch(value):
            return f"{pci[1] or '0000'}:{pci[2]}".lower()
    raise _refuse("gpu", "is not a GPU", 'write its index (0), its UUID ("GPU-...") or its PCI bus id ("0000:3b:00.0")')


def _instance_url(value: object, read: ValidatorFunctionWrapHandler) -> AnyUrl:
    """An Ollama's root: scheme, host and port, and nothing else."""
    url: AnyUrl = read(value)
    hint = "write http://HOST:PORT, like http://127.0.0.1:11435"
    if url.path not in (None, "/") or url.query is not None or url.fragment is not None:
        raise _refuse("instance_url", "must not have a path", hint)
    if url.username is not None or url.password is not None:
        raise _refuse("instance_url", "must not have a user", hint)
    if not str(value).strip().rstrip("/").endswith(f":{url.port}"):
        raise _refuse("instance_url", "has no port", hint)
    if endpoint(url).host in WILDCARD_HOSTS:
        raise _refuse("instance_url", f"has the host {endpoint(url).host}, which is no address to connect to", hint)
    return url


def endpoint(url: AnyUrl) -> Listen:
    """Return host and port of an instance's URL."""
    return Listen(host=(url.host or "").strip("[]"), port=url.port or 0)


def _check_characters(text: str, allowed: str, hint: str) -> None:
    """Name the first character that is not allowed, in ASCII: what it is called shows what a font may hide."""
    for place, character in enumerate(text, 1):
        if not re.fullmatch(allowed, character, re.ASCII):
            called = unicodedata.name(character, "a control character")
            message = f"has a character that is not allowed here, U+{ord(character):04X} ({called}) at place {place}"
            raise _refuse("character", message, hint)


def _instance_name(name: str) -> str:
    """HAProxy's server name, and a word in logs, headers and metrics."""
    hint = "write letters (a-z, A-Z), digits, `_`, `.` and `-`, like gpu0"
    _check_characters(name, r"[A-Za-z0-9_.-]", hint)
    if not re.match(r"[A-Za-z0-9_]", name):
        raise _refuse("name", "does not begin with a letter, a digit or `_`", hint)
    if len(name) > _MAX_NAME:
        raise _refuse("name", f"is longer than {_MAX_NAME} characters", "write a shorter name, like gpu0")
    return _not_reserved(name)


def _model_match(match: str) -> str:
    _check_characters(match, r"[!-~]", "write a name like llama3.1:70b, or a pattern like hf.co/*")
    if not 1 <= len(match) <= 400:
        raise _refuse("match", "must have 1 to 400 characters", "write a name like llama3.1:70b")
    return match


def _not_reserved(name: str) -> str:
    # FRONTEND and BACKEND are rows of HAProxy's own statistics; the others stand for "no instance" in logs and headers.
    if name.lower() in {"frontend", "backend", "none", "fallback", "pointsman"}:
        raise _refuse("reserved", "is a reserved word", "write a name of your own, like gpu0")
    return name


def _network(value: object) -> IPv4Network | IPv6Network:
    try:
        return ip_network(str(value), strict=False)
    except ValueError:
        raise _refuse(
            "network", "is not a network", "write an address like 10.0.0.5, or a network like 10.0.0.0/8"
        ) from None


def _without_port(host: str) -> str:
    name, colon, port = host.partition(":")
    if colon and ":" not in port:  # else an IPv6 address
        raise _refuse("host", "must be a name without a port", f"write {name}, which holds for every port")
    return host


def _as_list(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


_DURATION_JSON = {
    "anyOf": [{"type": "string", "pattern": _GO_DURATION}, {"type": "number"}],
    "examples": ["30s", "5m", "1h30m"],
}
_ADDRESS_JSON = {"type": "string", "examples": ["127.0.0.1:11434", "0.0.0.0:11434"]}
_LISTEN_JSON = {"type": "string", "examples": ["unix@/run/pointsman/spop.sock", "127.0.0.1:9601"]}


def _size_json(least: int) -> dict[str, Any]:
    return {
        "anyOf": [{"type": "string", "pattern": _SIZE}, {"type": "integer", "minimum": least}],
        "examples": ["24GiB", "512MiB"],
    }


Seconds = Annotated[
    float,
    Field(ge=0.001, le=_HAPROXY_TIMER_MAX_S, allow_inf_nan=False),
    BeforeValidator(_seconds),
    WithJsonSchema(_DURATION_JSON),
]
"""A time span above zero, in seconds."""

SecondsOrZero = Annotated[
    float,
    Field(ge=0, le=_HAPROXY_TIMER_MAX_S, allow_inf_nan=False),
    BeforeValidator(_seconds),
    WithJsonSchema(_DURATION_JSON),
]
"""A time span in seconds; zero switches off."""

SecondsOrForever = Annotated[
    float, Field(allow_inf_nan=False), BeforeValidator(_seconds), WithJsonSchema(_DURATION_JSON)
]
"""A time span in seconds as Ollama reads it: zero and below have meanings of their own."""

_AnySize = Annotated[ByteSize, Field(ge=1, le=1 << 60), WrapValidator(_size)]

Size = Annotated[_AnySize, WithJsonSchema(_size_json(1))]
"""Bytes."""

_GPU_LEAST = 256 << 20
GpuMemory = Annotated[_AnySize, _at_least(_GPU_LEAST, "the memory of a GPU"), WithJsonSchema(_size_json(_GPU_LEAST))]
"""Bytes of a GPU, or of several."""

_MODEL_LEAST = 1 << 20
ModelSize = Annotated[_AnySize, _at_least(_MODEL_LEAST, "a model"), WithJsonSchema(_size_json(_MODEL_LEAST))]
"""Bytes of a model: the smallest that Ollama's library has are 45 MB."""
SpareMemory = Annotated[
    _AnySize, _at_least(_MODEL_LEAST, "memory to be kept free"), WithJsonSchema(_size_json(_MODEL_LEAST))
]

TcpListen = Annotated[Listen, PlainValidator(_host_port), WithJsonSchema(_ADDRESS_JSON)]
AnyListen = Annotated[Listen, PlainValidator(_host_port_or_unix), WithJsonSchema(_LISTEN_JSON)]
Listens = Annotated[
    tuple[AnyListen, ...],
    Field(min_length=1),
    BeforeValidator(_as_list),
    WithJsonSchema(
        {
            "anyOf": [_LISTEN_JSON, {"type": "array", "items": _LISTEN_JSON, "minItems": 1}],
            "examples": _LISTEN_JSON["examples"],
        }
    ),
]
"""One address or a list of them."""

InstanceUrl = Annotated[
    AnyUrl,
    UrlConstraints(allowed_schemes=["http"], host_required=True),
    WrapValidator(_instance_url),
    WithJsonSchema({"type": "string", "pattern": "^http://", "examples": ["http://127.0.0.1:11435"]}),
]
GpuId = Annotated[
    int | str,
    PlainValidator(_gpu_id),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string"}],
            "examples": [0, "GPU-8f1c6f0e-0c4e-4b8a-9f57-6f6f5b1c2d3e", "0000:3b:00.0"],
        }
    ),
]
InstanceName = Annotated[
    str,
    AfterValidator(_instance_name),
    WithJsonSchema(
        {"type": "string", "pattern": f"^[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{_MAX_NAME - 1}}}$", "examples": ["gpu0"]}
    ),
]
ModelMatch = Annotated[
    str,
    AfterValidator(_model_match),
    WithJsonSchema({"type": "string", "pattern": "^[!-~]{1,400}$", "examples": ["llama3.1:70b", "hf.co/*"]}),
]
Origin = Annotated[
    str,
    StringConstraints(pattern=r"""^(\*|null|[a-z][a-z0-9+.-]*://[^\s"'\\,]+)$"""),
    Field(examples=["https://*.example.com"]),
]
Network = Annotated[
    IPv4Network | IPv6Network,
    PlainValidator(_network),
    WithJsonSchema({"type": "string", "examples": ["10.0.0.5", "10.0.0.0/8"]}),
]
HostGlob = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9_*:.-]+$"),
    AfterValidator(_without_port),
    Field(examples=["llm.example.com"]),
]
AbsolutePath = Annotated[
    str, StringConstraints(pattern=r"^/[^\x00-\x1f\x7f]*$", max_length=4095), Field(examples=["/var/lib/ollama/models"])
]
Count = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
CountOrZero = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]
Tokens = Annotated[int, Field(strict=True, ge=1, le=100_000_000, examples=[8192])]
