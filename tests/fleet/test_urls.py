from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from spoe_agent.fleet.units import Listen
from spoe_agent.fleet.urls import InstanceUrl, endpoint, is_name, machine, prefix


@pytest.mark.parametrize(
    ("text", "listen", "below"),
    [
        ("http://127.0.0.1:11435", Listen("127.0.0.1", 11435), ""),
        ("http://127.0.0.1:80/", Listen("127.0.0.1", 80), ""),
        ("http://[::1]:5", Listen("::1", 5), ""),
        ("http://GPU-box:5", Listen("gpu-box", 5), ""),
        ("https://gpu-box.lan:443", Listen("gpu-box.lan", 443), ""),
        ("https://h:443/ollama", Listen("h", 443), "/ollama"),
        ("http://h:80/a/b-1_2.3~/", Listen("h", 80), "/a/b-1_2.3~"),
    ],
)
def test_an_instance_url_is_host_and_port_and_perhaps_a_path(text: str, listen: Listen, below: str) -> None:
    url = TypeAdapter(InstanceUrl).validate_python(text)
    assert (endpoint(url), prefix(url)) == (listen, below)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("http://h", "has no port"),
        ("https://h", "has no port"),
        ("https://h/x:443", "has a path with other characters"),
        ("http://h:1/v1", "ends with a part of what is asked below it"),
        ("http://h:1/ollama/api/", "ends with a part of what is asked below it"),
        ("http://h:1/%20", "has a path with other characters"),
        ("http://h:1/a//b", "has a path with other characters"),
        ('http://h:1/a"b', "has a path with other characters"),
        ("http://u@h:1", "must not have a user"),
        ("http://u:p@h:1", "must not have a user"),
        ("http://h:1?x", "must not have anything behind its path"),
        ("http://h:1#x", "must not have anything behind its path"),
        ("ftp://h:1", "http"),
        ("h:1", ""),
        ("", ""),
        (5, ""),
        ("http://0.0.0.0:1", "no address to connect to"),
    ],
)
def test_no_instance_url(value: object, said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(InstanceUrl).validate_python(value)
    assert said in refused.value.errors()[0]["msg"]


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("http://h:1", "http://H:2", True),
        ("http://localhost:1", "http://127.0.0.2:2", True),
        ("http://h:1", "http://i:1", False),
        ("https://h:443/a", "https://h:443/b", False),
        ("https://h:443", "https://h:444", False),
        ("https://h:443/a", "https://h:443/a/", True),
    ],
)
def test_what_is_on_one_machine(one: str, other: str, is_same: bool) -> None:
    urls = [TypeAdapter(InstanceUrl).validate_python(text) for text in (one, other)]
    assert (machine(urls[0]) == machine(urls[1])) is is_same


@pytest.mark.parametrize(("host", "named"), [("127.0.0.1", False), ("::1", False), ("localhost", True), ("a.b", True)])
def test_what_has_to_be_looked_up(host: str, named: bool) -> None:
    assert is_name(host) is named
