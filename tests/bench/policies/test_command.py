from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.policies.command import policies

TINY = ["--quick", "--requests", "60", "--processes", "1"]


def test_quick_prints_one_json_object() -> None:
    result = CliRunner().invoke(policies, [*TINY, "--json"], catch_exceptions=False)
    printed = json.loads(result.stdout)

    assert result.exit_code == 0
    arms = [(row["regime"], row["fleet"], row["workload"], row["arm"]) for row in printed["rows"]]
    assert len(arms) == len(set(arms)) == 18
    assert printed["simulated"] and printed["trace"] is None
    for key in ("load", "ttft_mean", "ttft_p95", "ttft_p99", "e2e_mean", "loads_per_1000", "failed"):
        assert all(isinstance(row[key], (int, float)) for row in printed["rows"])
    assert {goal["fleet"] for goal in printed["goals"]} == {row["fleet"] for row in printed["rows"]}


def test_tables_records_and_picture(tmp_path: Path) -> None:
    trace, records, picture = tmp_path / "trace.csv", tmp_path / "records.jsonl", tmp_path / "ratios.png"
    lines = [f"{n}.5,M0{n % 3},7,{100 + n},20" for n in range(50)]
    trace.write_text("timestamp_s,model_rank,servegen_client,input_tokens,output_tokens\n" + "\n".join(lines))
    options = ["--fleet", "F2", "--load", "0.2", "--workload", "W1", "--arm", "leastconn", "--arm", "pointsman"]
    files = ["--trace", str(trace), "--records", str(records), "--plot", str(picture)]
    result = CliRunner().invoke(policies, ["--processes", "1", *options, *files], catch_exceptions=False)

    assert result.exit_code == 0
    assert "fleet F2, load 0.20, workload W1, 50 requests" in result.stdout
    assert len(records.read_text().splitlines()) == 50 + 4 * 50
    assert picture.exists()


def test_seeds_do_not_make_several_windows_of_one_trace(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    lines = [f"{n}.5,M0{n % 3},7,{100 + n},20" for n in range(50)]
    trace.write_text("timestamp_s,model_rank,servegen_client,input_tokens,output_tokens\n" + "\n".join(lines))
    options = ["--fleet", "F2", "--load", "0.2", "--arm", "leastconn", "--trace", str(trace), "--json"]
    same = CliRunner().invoke(policies, [*options, "--seeds", "3", "--workload", "W1", "--workload", "W2"])
    other = CliRunner().invoke(policies, [*options, "--seeds", "3", "--workload", "W2", "--processes", "1"])

    assert same.exit_code == 2
    assert "--seeds vary generated traffic only: with this trace W1 would be" in same.stderr
    assert "that vary: W2, W3," in same.stderr
    assert [row["seeds"] for row in json.loads(other.stdout)["rows"]] == [3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(["--fleet", "F9"], "'F9' is not one of", id="no such fleet"),
        pytest.param(["--load", "0"], "0.01", id="no load"),
        pytest.param(["--trace", "{folder}/none.csv"], "does not exist", id="no trace"),
        pytest.param(["--trace", "{folder}/bad.csv"], "neither a ServeGen", id="no trace in it"),
        pytest.param(["--fleet", "F4-kill"], "ends after", id="ends before its trouble is over"),
        pytest.param(["--records", "{folder}/none/r.jsonl"], "cannot write", id="no folder for records"),
        pytest.param(["--plot", "{folder}/ratios.nothing"], "cannot draw", id="no such picture"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, options: list[str], message: str) -> None:
    (tmp_path / "bad.csv").write_text("a,b\n")
    given = [option.format(folder=tmp_path) for option in options]
    result = CliRunner().invoke(policies, [*TINY, *given])

    assert result.exit_code != 0
    assert message in result.stderr.replace("\n", " ")
