"""Who has an address, among the sockets of this very process."""

import os
import socket
from contextlib import closing

import pytest

from spoe_agent.fleet import Listen
from spoe_agent.process.owners import owner, process_at
from spoe_agent.rig.process import free_port

TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM


def bound(kind, host, family=socket.AF_INET):
    sock = socket.socket(family, kind)
    sock.bind((host, 0))
    return sock


@pytest.mark.parametrize(
    ("kind", "host", "asked", "listens", "is_found"),
    [
        pytest.param(TCP, "127.0.0.1", "127.0.0.1", True, True, id="it listens"),
        pytest.param(TCP, "0.0.0.0", "127.0.0.1", True, True, id="it listens everywhere"),
        pytest.param(TCP, "127.0.0.1", "0.0.0.0", True, True, id="it listens where everywhere is asked for"),
        pytest.param(TCP, "127.0.0.1", "::", True, True, id="the same in IPv6"),
        pytest.param(TCP, "127.0.0.1", "localhost", True, True, id="it listens at a name"),
        pytest.param(TCP, "127.0.0.1", "127.0.0.2", True, False, id="it listens elsewhere"),
        pytest.param(TCP, "127.0.0.1", "127.0.0.1", False, False, id="it does not listen"),
        pytest.param(UDP, "127.0.0.1", "127.0.0.1", False, True, id="UDP"),
        pytest.param(UDP, "127.0.0.2", "127.0.0.1", False, False, id="UDP elsewhere"),
    ],
)
def test_who_has_a_port(kind, host, asked, listens, is_found):
    with closing(bound(kind, host)) as sock:
        if listens:
            sock.listen()
        listen = Listen(asked, sock.getsockname()[1])
        assert owner(listen, kind).startswith(f"process {os.getpid()} (") is is_found
        assert not owner(listen, UDP if kind is TCP else TCP)


def test_ipv6_and_ipv4_are_told_apart():
    with closing(bound(TCP, "::1", socket.AF_INET6)) as sock:
        sock.listen()
        port = sock.getsockname()[1]
        assert owner(Listen("::1", port), TCP)
        assert not owner(Listen("127.0.0.1", port), TCP)
        assert not owner(Listen("0.0.0.0", port), TCP)


def test_who_has_a_path(tmp_path):
    path = str(tmp_path / "spop.sock")
    with closing(socket.socket(socket.AF_UNIX)) as sock:
        sock.bind(path)
        assert owner(Listen(path=path), TCP).startswith(f"process {os.getpid()} (")
    assert not owner(Listen(path=path), TCP), "nobody has it, although it is there"


def test_nobody_has_a_free_port():
    assert owner(Listen("127.0.0.1", free_port()), TCP) == ""


def test_the_process_at_an_address_is_found():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = Listen("127.0.0.1", taken.getsockname()[1])
        assert process_at(listen).pid == os.getpid()
    assert process_at(listen) is None
