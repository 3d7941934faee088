"""Whether a unit's user reaches a file."""

import os
import tempfile
from pathlib import Path

import pytest

from spoe_agent.render.access import READ, RUN, User, hindrance, user

STRANGER = User("pointsman")


@pytest.fixture
def file():
    """One that everybody may read, in a folder that everybody may enter."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        (folder / "home").mkdir(mode=0o755)
        path = folder / "home" / "fleet.yaml"
        path.write_text("")
        path.chmod(0o644)
        yield path


CASES = {
    # the folder's mode, the file's, bits that are needed, whose they are -> what is said
    "open": (0o755, 0o644, READ, STRANGER, ""),
    "a closed home": (0o750, 0o644, READ, STRANGER, "user pointsman may not enter"),
    "a closed home of one's own": (0o750, 0o640, READ, User("me", os.getuid()), ""),
    "a closed home of one's group": (0o750, 0o640, READ, User("me", -5, (os.getgid(),)), ""),
    "a closed file": (0o755, 0o640, READ, STRANGER, "user pointsman may not use"),
    "not to be run": (0o755, 0o644, READ | RUN, STRANGER, "user pointsman may not use"),
}


@pytest.mark.parametrize(("folder", "own", "bits", "by", "said"), CASES.values(), ids=CASES)
def test_modes_on_the_way(file, folder, own, bits, by, said):
    file.chmod(own)
    file.parent.chmod(folder)
    why = hindrance(file, bits, by, ())
    assert (bool(why), said in why) == (bool(said), True), why


def test_what_a_link_leads_to_counts(file):
    link = file.parent.parent / "link"
    link.symlink_to(file)
    assert hindrance(link, READ, STRANGER, ()) == ""
    file.parent.chmod(0o750)
    assert f"may not enter {file.parent}" in hindrance(link, READ, STRANGER, ())


def test_a_unit_has_a_tmp_of_its_own(file):
    assert "PrivateTmp" in hindrance(file, READ, STRANGER, (file.parents[2],))


def test_what_is_not_there(file):
    assert "No such file" in hindrance(file.with_name("none"), READ, STRANGER, ())


def test_users_of_this_host():
    assert user("root").uid == 0
    assert user("no-such-user") == User("no-such-user")
