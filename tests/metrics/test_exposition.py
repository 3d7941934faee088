"""The page: every metric of the docs and no other, as Prometheus reads it."""

import re
from pathlib import Path

import pytest

from spoe_agent.agent.counts import MAX_MODELS
from spoe_agent.metrics.exposition import METRICS
from tests.metrics.rig import Rig

DOCS = Path(__file__).parents[2] / "docs"
PROCESS = "process_"
"""Prometheus's own names for a process, by the library."""


async def test_every_metric_is_on_the_page_with_its_kind():
    families = await Rig().families()
    own = {name: family.type for name, family in families.items() if not name.startswith(PROCESS)}
    assert own == {one.name: one.kind for one in METRICS}
    assert "process_resident_memory_bytes" in families


def test_the_docs_list_every_metric_and_no_other():
    rows = re.findall(r"^\| `(pointsman_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", (DOCS / "metrics.md").read_text(), re.M)
    labels = {one.name: ", ".join(f"`{label}`" for label in one.labels) or "-" for one in METRICS}
    assert rows == [(one.name, one.kind, labels[one.name], one.meaning) for one in METRICS]


@pytest.mark.parametrize("metric", METRICS, ids=lambda one: one.name)
def test_names_follow_prometheus(metric):
    """Base units, `_total` on what only grows, and no label that grows with requests."""
    assert metric.name.endswith("_total") is (metric.kind == "counter")
    assert not re.search(r"_(ms|us|millis|minutes|mib|gib|percent|mw)(_|$)", metric.name)
    assert not {"id", "request_id", "caller", "client", "prefix", "path"} & set(metric.labels)
    if metric.kind == "histogram":
        assert metric.name.endswith("_seconds")


async def test_names_that_callers_invent_make_no_series():
    rig = Rig()
    before = await series(rig)
    for number in range(50):
        rig.ask(f"r{number}", f"invented-{number}")
    added = await series(rig) - before
    assert added == {'pointsman_decisions_total{"action": "reject", "instance": "", "reason": "not found"}'}


async def test_beyond_so_many_models_they_count_together():
    rig = Rig()
    for number in range(MAX_MODELS + 3):
        rig.agent.record.counts.decided(rig.ask(f"r{number}"), f"model-{number}")
    families = await rig.families()
    models = {one.labels["model"]: one.value for one in families["pointsman_model_decisions_total"].samples}
    assert len(models) == MAX_MODELS + 1
    # `a`, which was really asked for, took a name first.
    assert models["others"] == 4


async def series(rig):
    """Every series but those of the process, as text."""
    return {
        f"{one.name}{one.labels}".replace("'", '"')
        for family in (await rig.families()).values()
        for one in family.samples
        if not one.name.startswith(PROCESS)
    }
