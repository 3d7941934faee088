"""Grafana's dashboard: every panel asks for metrics and labels that there are, and has its own place."""

import json
import re
from pathlib import Path

import pytest

from tests.metrics.test_alerts import KNOWN

FILE = Path(__file__).parents[2] / "docs" / "grafana" / "pointsman.json"
DASHBOARD = json.loads(FILE.read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
OF_PROMETHEUS = {"job", "instance"}
"""Labels that every series has."""
OF_THE_PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes", "up"}
UNITS = {"bool_on_off", "reqps", "short", "s", "bytes", "percentunit", "none", "celsius", "watt", "ops"}
"""Grafana's own names (packages/grafana-data/src/valueFormats/categories.ts)."""


@pytest.mark.parametrize(("title", "query"), QUERIES, ids=[f"{title}-{n}" for n, (title, _) in enumerate(QUERIES)])
def test_a_query_asks_for_what_is_there(title, query):
    asked = re.findall(r"\b((?:pointsman|process)_\w+|up)(?:\{([^}]*)\})", query)
    assert asked, "it asks for nothing"
    # Nothing that looks like a metric goes without the choice of a job.
    assert len(asked) == len(re.findall(r"\b(?:pointsman|process)_\w+|\bup\b", query))
    for name, selector in asked:
        assert name in KNOWN or name in OF_THE_PROCESS
        labels = KNOWN.get(name, set()) | OF_PROMETHEUS
        assert set(re.findall(r"(\w+)(?:=~|!~|!=|=)", selector)) <= labels
        assert 'job=~"$job"' in selector
    known = set.union(*(KNOWN.get(name, set()) for name, _ in asked)) | OF_PROMETHEUS
    for grouped in re.findall(r"\b(?:by|on|group_left) \(([^)]*)\)", query):
        assert {label for label in grouped.split(", ") if label} <= known
    if "histogram_quantile" in query:
        assert re.search(r"by \(le\b", query)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panels_legend_shows_labels_that_its_query_keeps(panel):
    assert panel["description"] and panel["fieldConfig"]["defaults"]["unit"] in UNITS
    for target in panel["targets"]:
        shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        grouped = re.findall(r"\bby \(([^)]*)\)", target["expr"])
        names = re.findall(r"\b((?:pointsman|process)_\w+|up)\{", target["expr"])
        kept = set().union(*(group.split(", ") for group in grouped)) if grouped else KNOWN.get(names[0], set())
        assert shown <= kept | (OF_PROMETHEUS if not grouped else set())


def test_panels_have_ids_and_places_of_their_own():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(at["x"] + dx, at["y"] + dy) for dx in range(at["w"]) for dy in range(at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


def test_every_metric_is_on_it():
    """Those that say nothing by themselves aside."""
    shown = {name for _, query in QUERIES for name in re.findall(r"pointsman_\w+", query)}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    every = {re.sub(r"_(bucket|sum|count)$", "", name) for name in KNOWN}
    assert every - families == {
        "pointsman_build_info",
        "pointsman_gpu_source_up",
        "pointsman_haproxy_processes",
        "pointsman_loaded_models",
        "pointsman_spop_frames_total",
    }


def test_its_data_source_is_a_choice_and_no_name_of_ours():
    names = [variable["name"] for variable in DASHBOARD["templating"]["list"]]
    assert names == ["datasource", "job"]
    sources = {json.dumps(panel["datasource"]) for panel in PANELS}
    assert sources == {json.dumps({"type": "prometheus", "uid": "${datasource}"})}
