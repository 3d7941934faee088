"""The agent's addresses: all or none, and who has them."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import closing
from pathlib import Path

import pytest

from spoe_agent.fleet import Listen, Listeners
from spoe_agent.process.listening import Taken, bind, take
from spoe_agent.rig.process import free_port

UDP = socket.SOCK_DGRAM


def listeners(folder, **others):
    mine = {name: f"127.0.0.1:{free_port()}" for name in ("front", "check", "admin", "door")}
    spop = [f"unix@{folder}/run/spop.sock", f"127.0.0.1:{free_port()}"]
    return Listeners.model_validate({**mine, "spop": spop, "log": f"127.0.0.1:{free_port(UDP)}", **others})


def path_of(found):
    return Path(found.spop[0].path)


def test_all_are_bound_and_given_back(tmp_path):
    found = listeners(tmp_path)
    for _ in range(2):
        sockets = take(found)
        (log,), (unix, tcp) = sockets.of("log"), sockets.of("spop")
        assert (log.getsockname()[1], unix.family, tcp.family) == (found.log.port, socket.AF_UNIX, socket.AF_INET)
        for copy in (log, unix, tcp):
            copy.close()
        assert stat.S_IMODE(os.stat(path_of(found)).st_mode) == 0o660
        sockets.close()
        assert not path_of(found).exists()


@pytest.mark.parametrize("key", ["spop", "check", "admin", "door", "log"])
def test_what_is_taken_is_named_and_the_rest_stays_free(tmp_path, key):
    with closing(socket.socket(socket.AF_INET, UDP if key == "log" else socket.SOCK_STREAM)) as other:
        other.bind(("127.0.0.1", 0))
        if key != "log":
            other.listen()
        port = other.getsockname()[1]
        found = listeners(tmp_path, **{key: f"127.0.0.1:{port}"})
        with pytest.raises(Taken) as refused:
            take(found)
        said = (
            f"listeners.{key} ({'UDP' if key == 'log' else 'TCP'} 127.0.0.1:{port}) is taken by process {os.getpid()}"
        )
        assert said in str(refused.value)
        assert str(refused.value).count("listeners.") == 1
    take(found).close()


def test_a_live_agents_unix_socket_is_not_taken_away(tmp_path):
    found = listeners(tmp_path)
    sockets = take(found)
    for copy in sockets.of("spop"):
        copy.listen()
        copy.close()
    with pytest.raises(Taken, match=r"spop\.sock"):
        take(listeners(tmp_path))
    with closing(socket.socket(socket.AF_UNIX)) as peer:
        peer.connect(str(path_of(found)))
    sockets.close()


def test_who_has_it_is_found_among_sockets_of_any_name(tmp_path):
    """Paths are bytes, and the kernel lists those of all programs."""
    with closing(socket.socket(socket.AF_UNIX)) as odd:
        odd.bind(os.fsencode(tmp_path) + b"/\xff.sock")
        test_a_live_agents_unix_socket_is_not_taken_away(tmp_path)


def test_a_socket_that_a_dead_agent_left_is_replaced(tmp_path):
    found = listeners(tmp_path)
    path_of(found).parent.mkdir()
    with closing(socket.socket(socket.AF_UNIX)) as left:
        left.bind(str(path_of(found)))
    take(found).close()


@pytest.mark.parametrize("has_successor", [False, True])
def test_a_socket_that_somebody_removed_or_replaced_is_left_alone(tmp_path, has_successor):
    found = listeners(tmp_path)
    sockets = take(found)
    path_of(found).rename(tmp_path / "old.sock")
    successor = bind(found.spop[0]) if has_successor else None
    sockets.close()
    assert path_of(found).exists() is has_successor
    if successor is not None:
        successor.close()


def test_the_port_that_a_dead_agents_guard_still_has_is_no_obstacle(tmp_path):
    found = listeners(tmp_path)
    with closing(bind(found.check, is_shared=True)) as guard:
        guard.listen()
        take(found).close()


def test_two_agents_do_not_share_the_port_of_checks(tmp_path):
    """Else each would get every other check."""
    found = listeners(tmp_path)
    first = take(found)
    with pytest.raises(Taken, match=r"listeners\.check .* is taken by another Pointsman agent"):
        take(listeners(tmp_path / "other", check=str(found.check)))
    first.close()


def test_an_address_in_use_is_refused():
    listen = Listen("127.0.0.1", free_port())
    with closing(bind(listen)) as sock:
        sock.listen()
        with pytest.raises(OSError, match="in use"):
            bind(listen)


def test_what_an_agent_had_goes_to_the_one_that_takes_its_place(tmp_path):
    found = listeners(tmp_path)
    old = take(found)
    had = {place: sock.dup() for place, sock in old.by_address().items()}
    moved = listeners(tmp_path, **{key: str(getattr(found, key)) for key in ("front", "check", "admin", "door")})
    new = take(moved, had, old.lock.dup())
    old.leave()
    assert path_of(found).exists()
    with pytest.raises(Taken, match=r"listeners\.check .* is taken by another Pointsman agent"):
        take(listeners(tmp_path / "other", check=str(found.check)))
    places = set(new.by_address())
    assert places & set(had) == {
        place for place in had if "spop (unix" in place or any(key in place for key in ("check", "admin", "door"))
    }
    # What it does not want any more is free.
    bind(found.log, UDP).close()
    new.close()
    assert not path_of(found).exists()


def test_another_port_of_checks_has_another_lock(tmp_path):
    found = listeners(tmp_path)
    old = take(found)
    moved = listeners(tmp_path / "new")
    new = take(moved, {place: sock.dup() for place, sock in old.by_address().items()}, old.lock.dup())
    old.leave()
    take(listeners(tmp_path / "other", check=str(found.check))).close()
    new.close()


ALL = ("spop", "log", "check", "admin", "door")


@pytest.mark.parametrize(
    ("keeps", "kept"), [(True, ["spop", "spop", "log", "door"]), (False, [])], ids=["not told", "told"]
)
def test_where_haproxy_may_still_ask_is_kept_as_long_as_it_has_not_been_told(tmp_path, keeps, kept):
    found = listeners(tmp_path)
    before = take(found)
    had = {place: sock.dup() for place, sock in before.by_address().items()}
    moved = listeners(tmp_path / "moved")
    after = take(moved, had, before.lock.dup(), keeps=keeps)
    before.leave()
    assert sorted(place.key for place in after.former) == sorted(kept)
    assert {str(place) for place in after.former} <= had.keys()
    assert sum(place.startswith("listeners.spop ") for place in after.by_address()) == (4 if keeps else 2)
    # Those that were not wanted are free.
    for key in set(ALL) - set(kept):
        if key != "spop":
            kind = UDP if key == "log" else socket.SOCK_STREAM
            bind(getattr(found, key), kind).close()
    after.close()
    assert path_of(found).exists() is not keeps
