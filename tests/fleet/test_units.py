from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from spoe_agent.fleet.called import InstanceName, ModelMatch
from spoe_agent.fleet.units import (
    AnyListen,
    GpuId,
    GpuMemory,
    Listen,
    Listens,
    ModelSize,
    Origin,
    Seconds,
    SecondsOrForever,
    Size,
    SpareMemory,
    TcpListen,
)


def reads(kind: object, value: object) -> object:
    return TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("5m", 300), ("1h30m", 5400), ("1.5s", 1.5), ("250ms", 0.25), (".5s", 0.5), ("5µs", None), (7, 7), (0.5, 0.5)],
)
def test_a_duration_is_written_as_in_go_or_as_seconds(value: object, seconds: float | None) -> None:
    if seconds is None:  # below a millisecond HAProxy would read it as no limit at all
        with pytest.raises(ValidationError):
            reads(Seconds, value)
    else:
        assert reads(Seconds, value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "5",
        "5mm",
        "1d",
        "5 m",
        "m",
        "",
        "1e3s",
        "5m3",
        "-5m",
        "0s",
        0,
        -1,
        True,
        [],
        "600h",
        "9" * 400 + "h",
        float("nan"),
        float("inf"),
    ],
)
def test_no_duration(value: object) -> None:
    with pytest.raises(ValidationError):
        reads(Seconds, value)


@pytest.mark.parametrize(("value", "seconds"), [("-1s", -1), (-1, -1), (0, 0), ("24h", 86400), ("-5m", -300)])
def test_ollama_gives_zero_and_less_a_meaning(value: object, seconds: float) -> None:
    assert reads(SecondsOrForever, value) == seconds


@pytest.mark.parametrize(
    ("value", "size"), [("24GiB", 24 << 30), ("24 gib", 24 << 30), ("1.5KiB", 1536), ("1GB", 10**9), (512, 512)]
)
def test_a_size(value: object, size: int) -> None:
    assert reads(Size, value) == size


@pytest.mark.parametrize(
    "value", ["24 potatoes", "", "-1GiB", 0, "0GiB", True, 1.5, None, "9" * 300 + "GiB", "9" * 400, 1 << 80]
)
def test_no_size(value: object) -> None:
    with pytest.raises(ValidationError):
        reads(Size, value)


@pytest.mark.parametrize(
    ("kind", "value", "unit"),
    [
        (GpuMemory, 24, "GiB"),
        (GpuMemory, "80", "GiB"),
        (GpuMemory, 24576, "MiB"),
        (GpuMemory, "24MB", None),
        (GpuMemory, (256 << 20) - 1, "MiB"),
        (ModelSize, 5, "GiB"),
        (ModelSize, "5KB", None),
        (SpareMemory, 1, "GiB"),
        (SpareMemory, 512, "GiB"),
    ],
)
def test_a_size_that_nothing_real_has_is_a_forgotten_unit(kind: object, value: object, unit: str | None) -> None:
    with pytest.raises(ValidationError) as refused:
        reads(kind, value)
    (error,) = refused.value.errors()
    assert "is too little for" in error["msg"]
    wanted = "write it like 24GiB or 512MiB" if unit is None else f"did you mean {value}{unit}?"
    assert error["ctx"]["hint"].endswith(wanted)


@pytest.mark.parametrize(("kind", "value"), [(GpuMemory, "256MiB"), (GpuMemory, 24 << 30), (ModelSize, "45MB")])
def test_small_things_have_their_sizes(kind: object, value: object) -> None:
    assert reads(kind, value) == reads(Size, value)


@pytest.mark.parametrize("text", ["127.0.0.1:11434", "0.0.0.0:1", "[::1]:11434", "gpu-box.lan:65535", "127.0.0.1:80"])
def test_an_address_reads_back_as_it_was_written(text: str) -> None:
    assert str(reads(TcpListen, text)) == text


@pytest.mark.parametrize(
    "value",
    [
        "127.0.0.1",
        ":11434",
        "11434",
        11434,
        "h:0",
        "h:65536",
        "h:x",
        "h:1/x",
        "u@h:1",
        "::1:5",
        "http://h:1",
        "h :1",
        "h:1\n",
        "unix@/x",
    ],
)
def test_no_tcp_address(value: object) -> None:
    with pytest.raises(ValidationError):
        reads(TcpListen, value)


def test_the_agent_may_listen_on_a_unix_socket() -> None:
    assert reads(AnyListen, "unix@/run/pointsman/spop.sock") == Listen(path="/run/pointsman/spop.sock")
    assert str(reads(AnyListen, "unix@/run/x.sock")) == "unix@/run/x.sock"


@pytest.mark.parametrize("value", ["unix@", "unix@run/x", "unix@/a b", "unix@/" + "x" * 107, "unix:/x"])
def test_no_socket_path(value: str) -> None:
    with pytest.raises(ValidationError):
        reads(AnyListen, value)


def test_one_address_is_a_list_of_one() -> None:
    assert reads(Listens, "h:1") == (Listen("h", 1),)
    assert reads(Listens, ["h:1", "unix@/s"]) == (Listen("h", 1), Listen(path="/s"))


@pytest.mark.parametrize(
    ("value", "gpu"),
    [
        (0, 0),
        ("GPU-8f1c6f0e-0c4e", "GPU-8f1c6f0e-0c4e"),
        ("MIG-8f1c6f0e", "MIG-8f1c6f0e"),
        ("0000:3b:00.0", "0000:3b:00.0"),
        ("00000000:3B:00.0", "0000:3b:00.0"),
        ("3b:00.0", "0000:3b:00.0"),
    ],
)
def test_a_gpu_has_one_form_of_its_id(value: object, gpu: object) -> None:
    assert reads(GpuId, value) == gpu


@pytest.mark.parametrize("value", [-1, True, 1.0, "0", "gpu0", "", "GPU-", "0000:3b:00", "GPU-a b c d", None])
def test_no_gpu(value: object) -> None:
    with pytest.raises(ValidationError):
        reads(GpuId, value)


@pytest.mark.parametrize(
    "name", ["gpu 0", "", ".", "..", "-a", "a/b", "é", "a" * 65, "BACKEND", "frontend", "none", "a\n", 5]
)
def test_no_instance_name(name: object) -> None:
    with pytest.raises(ValidationError):
        reads(InstanceName, name)


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        (InstanceName, "gp\u00fc0", "U+00FC (LATIN SMALL LETTER U WITH DIAERESIS) at place 3"),
        (InstanceName, "gpu\u0430", "U+0430 (CYRILLIC SMALL LETTER A) at place 4"),
        (InstanceName, "gpu 0", "U+0020 (SPACE) at place 4"),
        (InstanceName, "a\tb", "U+0009 (a control character) at place 2"),
        (InstanceName, ".a", "does not begin with a letter, a digit or `_`"),
        (InstanceName, "a" * 65, "is longer than 64 characters"),
        (ModelMatch, "gemma 3", "U+0020 (SPACE) at place 6"),
        (ModelMatch, "mod\u00e8le", "U+00E8 (LATIN SMALL LETTER E WITH GRAVE) at place 4"),
        (ModelMatch, "", "must have 1 to 400 characters"),
    ],
)
def test_what_is_wrong_with_a_name_is_said_in_plain_characters(kind: object, text: str, said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        reads(kind, text)
    assert said in refused.value.errors()[0]["msg"]
    assert refused.value.errors()[0]["msg"].isascii()


@pytest.mark.parametrize("origin", ["https://a b", "a.example.com", 'https://"', "https://a,https://b", ""])
def test_no_origin(origin: str) -> None:
    with pytest.raises(ValidationError):
        reads(Origin, origin)
