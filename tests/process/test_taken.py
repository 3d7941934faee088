"""Whether an address can be had: on real sockets."""

import os
import socket

import pytest

from spoe_agent.fleet import Listen
from spoe_agent.process.taken import refused, taken
from spoe_agent.rig.process import free_port


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_port(kind):
    listen = Listen("127.0.0.1", free_port())
    assert (taken(listen, kind), refused(listen, kind)) == ("", "")
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind((listen.host, listen.port))
        if kind is socket.SOCK_STREAM:
            holder.listen()
        assert taken(listen, kind).startswith(f"taken by process {os.getpid()} (")
        assert refused(listen, kind) == "taken by a process of another user"
    assert refused(listen, kind) == ""


def test_a_unix_socket(tmp_path):
    listen = Listen(path=str(tmp_path / "s"))
    assert taken(listen) == ""
    with socket.socket(socket.AF_UNIX) as holder:
        holder.bind(listen.path)
        holder.listen()
        assert taken(listen).startswith(f"taken by process {os.getpid()} (")


def test_an_address_of_another_host():
    assert refused(Listen("192.0.2.1", 11434)).startswith("not to be had: ")  # of nobody (RFC 5737)
