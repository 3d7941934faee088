"""The whole: processes, sockets, HAProxy, the agent. Short, and no times are asserted: they are the machine's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.live.command import live
from bench.live.fronts import LIVE_ARMS
from spoe_agent.rig.process import RigError

FIELDS = {
    *("regime", "fleet", "load", "workload", "arm", "void", "slip_p99"),
    *("ttft_mean", "ttft_p95", "ttft_p99", "e2e_mean", "loads_per_1000", "failed"),
    *("simulated", "simulated_unscaled", "ratio", "simulated_ratio", "agreement"),
}


@pytest.fixture
def haproxy() -> None:
    skip_without("leastconn")


def skip_without(*arms: str) -> None:
    try:
        for arm in arms:
            LIVE_ARMS[arm].find()
    except RigError as error:
        pytest.skip(str(error))


def test_all_arms_get_the_same_requests(tmp_path: Path) -> None:
    skip_without(*LIVE_ARMS)
    records = tmp_path / "records.jsonl"
    options = ["--fleet", "F2-few", "--requests", "30", "--time-scale", "40", "--records", str(records), "--json"]
    result = CliRunner().invoke(live, [*options], catch_exceptions=False)
    printed = json.loads(result.stdout)
    lines = [json.loads(line) for line in records.read_text().splitlines()]
    by_arm = {arm: [line for line in lines if line["arm"] == arm] for arm in LIVE_ARMS}

    assert [row["arm"] for row in printed["rows"]] == list(LIVE_ARMS)
    place = {"regime": "R0", "fleet": "F2-few", "load": 0.15, "workload": "W1"}
    assert all(place.items() <= row.items() for row in (printed, *printed["rows"]))
    assert all(row.keys() == FIELDS for row in printed["rows"])
    assert {row["failed"] for row in printed["rows"]} == {0}
    assert all(row["ttft_mean"] > 0 and row["loads_per_1000"] > 0 for row in printed["rows"])
    (reference,) = [row for row in printed["rows"] if row["arm"] == "leastconn"]
    assert reference["agreement"]["ttft_mean"] == pytest.approx(1.0)
    for of_arm in by_arm.values():
        assert len(of_arm) == 30
        assert {line["status"] for line in of_arm} == {200}
        assert {line["instance"] for line in of_arm} <= {0, 1}
    schedules = [[(line["t"], line["model"], line["output_tokens"]) for line in of_arm] for of_arm in by_arm.values()]
    assert all(schedule == schedules[0] for schedule in schedules)


def test_a_missing_program_costs_its_arm_only(haproxy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NGINX", "/nonexistent/nginx")
    arms = ["--arm", "nginx_leastconn", "--arm", "leastconn"]
    options = ["--fleet", "F2-few", "--requests", "10", "--time-scale", "100"]
    result = CliRunner().invoke(live, [*arms, *options], catch_exceptions=False)

    assert result.exit_code == 0
    assert "nginx_leastconn is skipped: nginx is not installed. Try: apt-get install nginx-light" in result.stderr
    assert "leastconn" in result.stdout and "nginx" not in result.stdout


def test_with_no_program_at_all_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NGINX", "/nonexistent/nginx")
    result = CliRunner().invoke(live, ["--arm", "nginx_leastconn"])

    assert result.exit_code == 1
    assert "apt-get install nginx-light" in result.stderr
