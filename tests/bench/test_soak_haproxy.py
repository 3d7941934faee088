"""The soak through the installed HAProxy, short."""

import json

import pytest
from click.testing import CliRunner

from bench import soak_haproxy


def test_after_everything_that_went_wrong_the_accounts_are_equal():
    command = ["--requests", "500", "--lost", "0.1", "--seed", "7"]
    result = CliRunner().invoke(soak_haproxy.main, command, catch_exceptions=False)
    said = json.loads(result.output)
    assert said["requests"] == 500
    assert min(said["left"], said["lost_lines"], said["passed_lines"], said["statuses"]["404"]) > 0
    assert said["still_running"] == soak_haproxy.STILL_RUNNING
    assert (said["drift"], said["grants_left"], said["left_in_hold"]) == ({}, 0, 0)
    assert (said["clean"], result.exit_code) == (True, 0)


@pytest.mark.parametrize("wrong", [{"drift": {"gpu0": -1}}, {"grants_left": 1}, {"left_in_hold": 1}])
def test_what_counts_as_drift(wrong):
    assert soak_haproxy.Tally().is_clean
    assert not soak_haproxy.Tally(**wrong).is_clean


def test_a_program_that_is_not_there_is_named():
    result = CliRunner().invoke(soak_haproxy.main, ["--haproxy", "/nonexistent/haproxy"])
    assert result.exit_code == 1
    assert "/nonexistent/haproxy" in result.output
