"""The alert rules: Prometheus takes them, and they ask for metrics and labels that there are."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from spoe_agent.metrics.exposition import METRICS

FILE = Path(__file__).parents[2] / "docs" / "prometheus" / "alerts.yaml"
RULES = [rule for group in yaml.safe_load(FILE.read_text())["groups"] for rule in group["rules"]]
PROMTOOL = os.environ.get("PROMTOOL") or shutil.which("promtool")
KNOWN = {one.name: set(one.labels) for one in METRICS if one.kind != "histogram"}
KNOWN |= {
    f"{one.name}{suffix}": {*one.labels, *({"le"} if suffix == "_bucket" else ())}
    for one in METRICS
    if one.kind == "histogram"
    for suffix in ("_bucket", "_sum", "_count")
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_asks_for_what_is_there(rule):
    asked = re.findall(r"(pointsman_\w+)(?:\{([^}]*)\})?", rule["expr"])
    assert asked or rule["expr"].startswith("up{")
    for name, selector in asked:
        assert name in KNOWN
        assert set(re.findall(r"(\w+)(?:=~|!~|!=|=)", selector)) <= KNOWN[name]
    shown = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    kept = {"instance"} if rule["expr"].startswith("up{") else set.intersection(*(KNOWN[name] for name, _ in asked))
    grouped = re.search(r"sum by \(([^)]*)\)", rule["expr"])
    assert shown <= (set(grouped[1].split(", ")) if grouped else kept)
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert set(rule["annotations"]) == {"summary", "do"}


def test_the_docs_queries_ask_for_what_is_there():
    text = (FILE.parents[1] / "metrics.md").read_text()
    queries = re.findall(r"^\| [A-Z].*\? \| (.*) \|$", text, re.M)
    asked = {name for query in queries for name in re.findall(r"pointsman_\w+", query)}
    assert len(queries) == 5
    assert asked <= KNOWN.keys()


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool: apt-get install prometheus, or PROMTOOL=/path/to/it")
def test_prometheus_takes_them():
    done = subprocess.run([PROMTOOL, "check", "rules", str(FILE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(RULES)} rules found" in done.stdout
