"""The demo's numbers and its table."""

import json

import pytest
from rich.console import Console

from spoe_agent.demo.summary import RunSummary
from spoe_agent.demo.traffic import Answered


def seen(model="a", instance="gpu0", reason="loaded", status=200, failed=False, ttft_s=0.1):
    return Answered(model, instance, reason, status, failed, ttft_s)


def run(*answers):
    it = RunSummary("haproxy 2.6", ("gpu0", "gpu1"))
    for one in answers:
        it.add(one)
    return it


def test_a_run_as_plain_data():
    it = run(
        seen(ttft_s=0.1),
        seen(reason="room", ttft_s=3.0),
        seen("b", "gpu1", ttft_s=0.2),
        seen("b", "-", "no instance up", 503, True, 9.0),
        seen("b", "-", "no instance up", 503, True, 9.0),
        seen("c", "-", "ClientPayloadError", 0, True, 9.0),
        seen("c", "gpu1", "fallback", ttft_s=0.3),
    )
    summary = it.as_data(2)
    assert summary == {
        "requests": 7,
        "failed": 3,
        "by_instance": {"gpu0": 2, "gpu1": 2},
        "loads": 2,
        "warm_share": 0.5,
        "ttft_p50_s": pytest.approx(0.25),
        "front": "haproxy 2.6",
        "errors": ["0 ClientPayloadError", "503 no instance up"],
    }
    assert json.loads(json.dumps(summary)) == summary
    assert it.failed == 3


@pytest.mark.parametrize("answers", [[], [seen(failed=True, status=503)]], ids=["nothing sent", "all failed"])
def test_where_nothing_was_served_there_is_no_median(answers):
    summary = run(*answers).as_data(None)
    assert (summary["ttft_p50_s"], summary["warm_share"], summary["loads"]) == (None, 0.0, None)


def shown(it, loads):
    console = Console(width=120, record=True, quiet=False, file=None, force_terminal=False)
    with console.capture() as capture:
        console.print(it.table(loads))
    return capture.get()


def test_the_table_says_where_each_model_went_and_why():
    it = run(
        seen("rare", "gpu1", "room", ttft_s=2.0),
        *[seen("often", "gpu0", "loaded", ttft_s=0.05)] * 3,
        seen("often", "gpu1", "fallback", ttft_s=0.05),
        seen("often", "-", "no instance up", 503, True, 0.05),
    )
    text = shown(it, 7)
    assert "haproxy 2.6" in text
    assert "6 requests, 1 failed, loads: 7" in text
    often, rare = (next(line.split() for line in text.splitlines() if model in line) for model in ("often", "rare"))
    assert text.index("often") < text.index("rare")
    cells = [cell for cell in often if cell not in "│┃|"]
    assert cells[:3] == ["often", "3", "1"]
    assert " ".join(cells[3:]) == "loaded 3, fallback 1, no instance up 1 50 ms"
    assert [cell for cell in rare if cell not in "│┃|"] == ["rare", "1", "room", "1", "2000", "ms"]


def test_before_the_first_answer_there_is_a_table_too():
    assert "0 requests, 0 failed, loads: unknown" in shown(run(), None)
