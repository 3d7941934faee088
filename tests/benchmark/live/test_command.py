"""The whole: processes, sockets, HAProxy, the agent. Short, and no times are asserted: they are the machine's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from spoe_agent.benchmark.command import bench
from spoe_agent.rig.haproxy import find_haproxy
from spoe_agent.rig.process import RigError


@pytest.fixture
def haproxy() -> None:
    try:
        find_haproxy()
    except RigError as error:
        pytest.skip(str(error))


def test_two_arms_get_the_same_requests(haproxy: None, tmp_path: Path) -> None:
    records = tmp_path / "records.jsonl"
    arms = ["--arm", "leastconn", "--arm", "pointsman"]
    options = ["--fleet", "F2-few", "--requests", "30", "--time-scale", "40", "--records", str(records), "--json"]
    result = CliRunner().invoke(bench, ["live", *arms, *options], catch_exceptions=False)
    printed = json.loads(result.stdout)
    lines = [json.loads(line) for line in records.read_text().splitlines()]
    by_arm = {arm: [line for line in lines if line["arm"] == arm] for arm in ("leastconn", "pointsman")}

    assert [row["arm"] for row in printed["rows"]] == ["leastconn", "pointsman"]
    assert [row["failed"] for row in printed["rows"]] == [0, 0]
    assert all(row["ttft_mean"] > 0 and row["loads_per_1000"] > 0 for row in printed["rows"])
    assert printed["rows"][0]["agreement"]["ttft_mean"] == pytest.approx(1.0)
    for of_arm in by_arm.values():
        assert len(of_arm) == 30
        assert {line["status"] for line in of_arm} == {200}
        assert {line["instance"] for line in of_arm} <= {0, 1}
    schedules = [[(line["t"], line["model"], line["output_tokens"]) for line in by_arm[arm]] for arm in by_arm]
    assert schedules[0] == schedules[1]


def test_a_missing_program_costs_its_arm_only(haproxy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NGINX", "/nonexistent/nginx")
    arms = ["--arm", "nginx_leastconn", "--arm", "leastconn"]
    options = ["--fleet", "F2-few", "--requests", "10", "--time-scale", "100"]
    result = CliRunner().invoke(bench, ["live", *arms, *options], catch_exceptions=False)

    assert result.exit_code == 0
    assert "nginx_leastconn is skipped: nginx is not installed. Try: apt-get install nginx-light" in result.stderr
    assert "leastconn" in result.stdout and "nginx" not in result.stdout


def test_with_no_program_at_all_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NGINX", "/nonexistent/nginx")
    result = CliRunner().invoke(bench, ["live", "--arm", "nginx_leastconn"])

    assert result.exit_code == 1
    assert "apt-get install nginx-light" in result.stderr
