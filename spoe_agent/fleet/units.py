"""Types of single values in the fleet file: durations, sizes, addresses, names.

Lives here: how one value is read from text, and its JSON schema.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
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

    @property
    def local(self) -> Listen:
        """The address at which this host reaches it."""
        return replace(self, host={"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host))

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix@{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def refuse(kind: str, message: str, hint: str) -> PydanticCustomError:
    """Return the error that says what is wrong with a value, and what to write instead."""
    return PydanticCustomError(kind, "{message}", {"message": message, "hint": hint})


def _seconds(value: object) -> object:
    """Read a Go duration; numbers are seconds already and go on as they are."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise refuse("duration", "must be a duration", "write 30s, 5m or 1h30m; a plain number is seconds")
    if not isinstance(value, str):
        return value
    # durationpy knows days and months too ("5mm"), Ollama does not: Go's own units only.
    if not re.match(_GO_DURATION, value):
        raise refuse("duration", "is not a duration", "write 30s, 5m or 1h30m; a plain number is seconds")
    try:
        return durationpy.from_str(value).total_seconds()
    except durationpy.DurationError as error:
        raise refuse("duration", str(error)[:80], "write 30s, 5m or 1h30m; a plain number is seconds") from None


def duration(seconds: float) -> str:
    """Write a time span as Go and HAProxy read it: whole seconds, else milliseconds."""
    return f"{round(seconds * 1000)}ms" if seconds % 1 else f"{int(seconds)}s"


def _size(value: object, read: ValidatorFunctionWrapHandler) -> ByteSize:
    """Let pydantic read the size; say in one form what is wrong when it cannot."""
    try:
        if not isinstance(value, bool):
            return ByteSize(read(value))
    except (ValidationError, OverflowError):
        pass
    raise refuse("size", "is not a size", "write 24GiB, 512MiB or a number of bytes")


def _at_least(least: int, what: str) -> WrapValidator:
    """Refuse less than anything real has: a plain number is bytes, and nearly always meant as GiB."""

    def read(value: object, inner: ValidatorFunctionWrapHandler) -> ByteSize:
        size = ByteSize(inner(value))
        if size >= least:
            return size
        plain = isinstance(value, int) or (isinstance(value, str) and value.strip().isdigit())
        unit = "GiB" if size < 1024 else "MiB"
        hint = f"a plain number is bytes: did you mean {value}{unit}?" if plain else "write it like 24GiB or 512MiB"
        raise refuse("size", f"is too little for {what}", hint)

    return WrapValidator(read)


def _zero_or(value: object, read: ValidatorFunctionWrapHandler) -> ByteSize:
    is_zero = not isinstance(value, bool) and str(value).strip() == "0"
    return ByteSize(0) if is_zero else ByteSize(read(value))


def _host_port(value: object) -> Listen:
    hint = "write HOST:PORT, like 127.0.0.1:11434"
    try:
        url = AnyUrl(f"http://{value}")
    except ValidationError:
        raise refuse("listen", "is not an address", hint) from None
    host = (url.host or "").strip("[]")
    listen = Listen(host=host, port=url.port or 0)
    # Equal to what was written: then there was no user, path, default port or odd form of a number in it.
    if not listen.port or str(listen) != str(value).lower():
        raise refuse("listen", "is not an address", hint)
    return listen


def _host_port_or_unix(value: object) -> Listen:
    if not isinstance(value, str) or not value.startswith("unix@"):
        return _host_port(value)
    path = value.removeprefix("unix@")
    if not re.fullmatch(_UNIX_PATH, path):
        hint = "write unix@ and an absolute path of at most 107 plain characters, like unix@/run/pointsman/spop.sock"
        raise refuse("listen", "is not the path of a socket", hint)
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
    raise refuse("gpu", "is not a GPU", 'write its index (0), its UUID ("GPU-...") or its PCI bus id ("0000:3b:00.0")')


def _network(value: object) -> IPv4Network | IPv6Network:
    try:
        return ip_network(str(value), strict=False)
    except ValueError:
        raise refuse(
            "network", "is not a network", "write an address like 10.0.0.5, or a network like 10.0.0.0/8"
        ) from None


def _without_port(host: str) -> str:
    name, colon, port = host.partition(":")
    if colon and ":" not in port:  # else an IPv6 address
        raise refuse("host", "must be a name without a port", f"write {name}, which holds for every port")
    return host


def _front_prefix(value: str) -> str:
    if value and not re.fullmatch(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+", value):
        raise refuse("prefix", "is not a path that can stand before Ollama's own", "write it like /ollama")
    return value


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

GroupMemory = Annotated[
    GpuMemory,
    WrapValidator(_zero_or),
    WithJsonSchema(
        {**_size_json(_GPU_LEAST), "anyOf": [*_size_json(_GPU_LEAST)["anyOf"], {"type": "integer", "const": 0}]}
    ),
]
"""The same, or 0: no GPU."""

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
FrontPrefix = Annotated[
    str,
    StringConstraints(max_length=200),
    AfterValidator(_front_prefix),
    Field(examples=["/ollama"]),
]
AbsolutePath = Annotated[
    str, StringConstraints(pattern=r"^/[^\x00-\x1f\x7f]*$", max_length=4095), Field(examples=["/var/lib/ollama/models"])
]
Paths = Annotated[tuple[AbsolutePath, ...], BeforeValidator(_as_list)]
"""One absolute path or a list of them."""
Count = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
CountOrZero = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]
Tokens = Annotated[int, Field(strict=True, ge=1, le=100_000_000, examples=[8192])]
