"""`pointsman key`: what is made, shown and taken back; the file is real, HAProxy is not there."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from spoe_agent.admin.key_command import key
from spoe_agent.keys.entry import hash_of
from spoe_agent.keys.file import read

DAY_S = 86_400


class Refusing:
    """A socket that takes no command, and tells at each whether the keys' folder was locked then."""

    def __init__(self, path: Path, folder: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._folder = folder
        self._thread = threading.Thread(target=self._serve)
        self.was_locked: list[bool] = []

    def __enter__(self) -> Refusing:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.was_locked.append(self._is_locked())
                client.close()

    def _is_locked(self) -> bool:
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(folder)
        return False


class Desk:
    """A fleet file that asks for keys, and who types."""

    def __init__(self, folder: Path, more: str = "") -> None:
        self.fleet, self.file = folder / "fleet.yaml", folder / "keys" / "keys.json"
        text = f'keys: {{file: {self.file}}}\ninstances: [{{name: g, url: "http://127.0.0.1:1"}}]\n{more}'
        self.fleet.write_text(text)

    def types(self, *words: str) -> Result:
        return CliRunner().invoke(key, [*words, "--fleet", str(self.fleet)])


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_key_is_shown_once_and_its_hash_is_kept(desk: Desk) -> None:
    made = desk.types("add", "alice")
    assert made.exit_code == 0
    secret = made.stdout.strip()
    assert secret.startswith("pm-") and "\n" not in secret
    (kept,) = read(desk.file)
    assert (kept.name, kept.hash, kept.models, kept.manage) == ("alice", hash_of(secret), None, False)
    assert secret not in desk.file.read_text()
    assert secret not in desk.types("list").output


def test_all_rights_are_kept_and_listed(desk: Desk) -> None:
    given = "--models", "llama3.1:8b, qwen*", "--priority", "batch", "--weight", "2.5", "--rpm", "60"
    assert desk.types("add", "bob", *given, "--concurrent", "4", "--expires", "90d").exit_code == 0
    (kept,) = read(desk.file)
    assert (kept.models, kept.priority, kept.weight) == (("llama3.1:8b", "qwen*"), 100, 2.5)
    assert (kept.rpm, kept.concurrent) == (60, 4)
    assert abs(kept.expires_s - time.time() - 90 * DAY_S) < 60
    told = desk.types("list").output
    assert told.startswith("bob  models llama3.1:8b,qwen*  priority 100  weight 2.5  rpm 60  concurrent 4  expires ")
    assert desk.types("add", "ops", "--manage").exit_code == 0
    assert "ops  manage\n" in desk.types("list").output


def test_a_rotated_key_has_the_same_rights_and_the_old_one_none(desk: Desk) -> None:
    old = desk.types("add", "a", "--rpm", "3").stdout.strip()
    new = desk.types("rotate", "a").stdout.strip()
    (kept,) = read(desk.file)
    assert old != new
    assert (kept.hash, kept.rpm) == (hash_of(new), 3)


def test_a_revoked_key_is_gone(desk: Desk) -> None:
    desk.types("add", "a")
    desk.types("add", "b")
    assert desk.types("revoke", "a").exit_code == 0
    assert [one.name for one in read(desk.file)] == ["b"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "a"), "there is a key a; take another name, or: pointsman key rotate a"),
        (("rotate", "b"), "there is no key b"),
        (("revoke", "b"), "there is no key b"),
        (("add", "b c"), "name: "),
        (("add", "10.0.0.1"), "name: "),
        (("add", "b", "--models", "x", "--manage"), "--manage goes without --models"),
        (("add", "b", "--models", " , "), "--models names none"),
        (("add", "b", "--models", "x|y"), "models: "),
        (("add", "b", "--priority", "101"), "priority: "),
        (("add", "b", "--priority", "soon"), "priority: "),
        (("add", "b", "--weight", "0"), "weight: "),
        (("add", "b", "--rpm", "-1"), "rpm: "),
        (("add", "b", "--expires", "2001-01-01"), "--expires: 2001-01-01 is over"),
        (("add", "b", "--expires", "soon"), "--expires: 'soon' is neither a day"),
    ],
)
def test_what_cannot_be_is_said_and_changes_nothing(desk: Desk, words: tuple[str, ...], said: str) -> None:
    desk.types("add", "a")
    before = desk.file.read_bytes()
    told = desk.types(*words)
    assert told.exit_code == 1
    assert said in told.output
    assert desk.file.read_bytes() == before


def test_a_fleet_without_keys_says_what_to_write(tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text('instances: [{name: g, url: "http://127.0.0.1:1"}]')
    told = CliRunner().invoke(key, ["list", "--fleet", str(fleet)])
    assert told.exit_code == 1
    assert "write keys: {file: /etc/pointsman/keys/keys.json}" in told.output


def test_where_haproxy_has_no_socket_it_is_reloaded(tmp_path: Path) -> None:
    files, mark = tmp_path / "haproxy", tmp_path / "reloaded"
    desk = Desk(tmp_path, f"haproxy: {{files: {files}, reload: 'touch {mark}'}}")
    assert desk.types("add", "a").exit_code == 0
    assert mark.exists()
    (kept,) = read(desk.file)
    assert f"{kept.hash} {kept.line}\n" in (files / "pointsman-keys.map").read_text()


@pytest.mark.parametrize("words", [("add", "b"), ("rotate", "a"), ("revoke", "a")], ids=lambda words: words[0])
@pytest.mark.parametrize("place", ["socket", "folder", "reload"])
def test_a_haproxy_that_cannot_be_told_is_a_failure_and_what_to_do_is_said(
    tmp_path: Path, place: str, words: tuple[str, ...]
) -> None:
    files, socket = tmp_path / "haproxy", tmp_path / "none.sock"
    settings, wrong = {
        "socket": (f"files: {files}, runtime: {socket}, reload: 'true'", str(socket)),
        "folder": (f"files: {tmp_path / 'fleet.yaml'}, reload: 'true'", str(tmp_path / "fleet.yaml")),
        "reload": (f"files: {files}, reload: 'echo no such unit >&2; exit 5'", "no such unit"),
    }[place]
    desk = Desk(tmp_path)
    desk.types("add", "a")
    desk.fleet.write_text(f"{desk.fleet.read_text()}\nhaproxy: {{{settings}}}\n")
    told = desk.types(*words)
    assert told.exit_code == 1
    assert f"{desk.file} is written, but HAProxy may go by the old keys: " in told.stderr
    assert wrong in told.stderr
    assert "pointsman render haproxy --out " in told.stderr
    # The file has the new one, so it must be known to whom it is for.
    assert told.stdout.startswith("pm-") is (words[0] != "revoke")
    assert "is revoked" not in told.output


def test_where_the_fleet_file_names_no_haproxy_it_is_said_what_to_do(desk: Desk) -> None:
    desk.types("add", "a")
    told = desk.types("revoke", "a")
    assert told.exit_code == 0
    assert "until you render and reload: pointsman render haproxy --out FOLDER, then: " in told.stderr


def test_who_edits_meanwhile_is_told_of_last(tmp_path: Path) -> None:
    """HAProxy is told while the file is still locked, so no older list comes after a newer one."""
    desk = Desk(tmp_path, f"haproxy: {{files: {tmp_path / 'haproxy'}, runtime: {tmp_path / 'h.sock'}}}")
    with Refusing(tmp_path / "h.sock", desk.file.parent) as haproxy:
        desk.types("add", "a")
    assert haproxy.was_locked == [True]
