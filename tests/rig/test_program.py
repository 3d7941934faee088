"""Programs of others: HAProxy stands for all in test_haproxy; here is mitmdump."""

import pytest

from spoe_agent.rig.mitmproxy import find_mitmdump, version
from spoe_agent.rig.process import RigError
from tests.rig.test_haproxy import program


def test_the_one_that_is_named_is_taken(tmp_path, monkeypatch):
    named = program(tmp_path, "", "mine")
    monkeypatch.setenv("MITMDUMP", named)
    assert find_mitmdump() == named


def test_one_that_is_named_and_missing_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("MITMDUMP", str(tmp_path / "none"))
    with pytest.raises(RigError, match=r"\$MITMDUMP is .*/none, which is not a program"):
        find_mitmdump()


def test_its_version_is_in_what_it_says(tmp_path):
    assert version(program(tmp_path, "echo 'Mitmproxy: 11.0.2'")) == "11.0.2"
    with pytest.raises(RigError, match=r"cannot run .*/haproxy"):
        version(program(tmp_path, "exit 1"))
