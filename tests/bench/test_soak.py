import json

import pytest
import structlog
from click.testing import CliRunner

from bench import soak

REQUESTS = 5000


@pytest.fixture(scope="module")
def tally():
    return soak.Soak(seed=7).run(REQUESTS)


def test_at_the_end_the_agent_counts_what_haproxy_counts(tally):
    assert tally.drift == {}
    assert (tally.left_in_hold, tally.unanswered, tally.grants_left) == (0, 0, 0)
    assert tally.is_clean


def test_everything_that_goes_wrong_in_life_went_wrong(tally):
    assert tally.requests == REQUESTS
    assert tally.lost_lines > 0.03 * REQUESTS
    assert tally.held > 0.2 * REQUESTS
    assert min(tally.left, tally.sent_on, tally.late_answers, tally.turned_away, tally.rejected) > 5
    assert 0 < tally.most_drift < 20


def test_the_same_seed_plays_the_same():
    one, other = (soak.Soak(seed=3).run(300) for _ in range(2))
    assert (one.routed, one.held, one.lost_lines, one.virtual_s) == (
        other.routed,
        other.held,
        other.lost_lines,
        other.virtual_s,
    )


@pytest.fixture
def quiet_logs():
    """The command says for the whole process that nothing is logged."""
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("quiet_logs")
def test_one_line_of_json_and_the_exit_code():
    result = CliRunner().invoke(soak.main, ["--requests", "200", "--seed", "5"])
    said = json.loads(result.output)
    assert (said["requests"], said["clean"], result.exit_code) == (200, True, 0)


@pytest.mark.parametrize("wrong", [{"drift": {"gpu0": 1}}, {"left_in_hold": 1}, {"unanswered": 1}, {"grants_left": 1}])
def test_what_counts_as_drift(wrong):
    assert not soak.Tally(**wrong).is_clean


class Silent(soak.Soak):
    """Every log line is lost, and no request brings counts."""

    def _loads(self):
        return {}

    def _end(self, request_id, termination):
        self._live.pop(request_id, None)


def test_an_account_that_drifts_is_found():
    assert not Silent(seed=1).run(100).is_clean
