"""The last hour: pieces of counts, bounded."""

import pytest

from spoe_agent.agent.counts import SECONDS, Histogram
from spoe_agent.dashboard.trend import PIECES, quantile
from tests.dashboard.stage import Stage

PARTS = [
    ([], 0.5, None),
    ([0.2], 0.5, 0.175),
    ([0.2], 1.0, 0.25),
    ([0.2, 0.2, 0.2, 20.0], 0.5, 0.2),
    ([0.2, 20.0], 1.0, 30.0),
    ([1000.0], 0.5, SECONDS[-1]),
]


@pytest.mark.parametrize(("values", "part", "expected"), PARTS)
def test_a_quantile_lies_between_the_bounds_around_it(values, part, expected):
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    assert quantile(histogram.counts, part) == expected


def test_a_piece_has_what_happened_in_it():
    stage = Stage(1)
    stage.trend.take()
    for is_whole in (True, True, False):
        request_id, _ = stage.asks("mistral:7b")
        stage.reads("gpu0", "mistral:7b")
        stage.ends(request_id, "gpu0", 0.2, is_whole)
    for _ in range(5):
        stage.asks("mistral:7b")
    stage.trend.take()
    found = stage.trend.columns()
    assert (found["number"], found["loads"], found["whole"], found["broken"]) == (2, [0, 1], [0, 2], [0, 1])
    assert found["first_token_p50_s"][0] is None
    assert 0.1 < found["first_token_p50_s"][1] <= 0.25
    assert found["held"] == [0, 1]


def test_it_is_an_hour_and_no_more():
    stage = Stage(1)
    for _ in range(PIECES + 10):
        stage.trend.take()
    found = stage.trend.columns()
    assert (len(found["loads"]), found["number"]) == (PIECES, PIECES + 10)
