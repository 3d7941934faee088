"""A plan put into a fleet file, whose comments and other sections stay."""

from __future__ import annotations

import io
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from spoe_agent.plan.carried import carried
from spoe_agent.plan.entries import PlannedInstance, Rule
from spoe_agent.plan.wishes import Gpu
from spoe_agent.routing.names import canonical, display, is_pattern, matches


def written(
    text: str, gpus: Sequence[Gpu], made: Sequence[PlannedInstance], rules: Sequence[Rule], kv_cache_type: str | None
) -> str:
    """Return a fleet file's text with the plan in it.

    Instances are those of the plan: what the file says of one with the same GPUs stays, as far as the plan says
    nothing of it; new ones say what those said that go. Rules of planned models are brought up to date, or put first
    with what the rule says that held for them before; other rules stay.

    Raises:
        Contradiction: those that go do not say the same.
    """
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    document = yaml.load(text)
    document["gpus"] = _gpus(document.get("gpus"), gpus)
    defaults = document.get("defaults") or {}
    before = {one.get("name"): one for one in document.get("instances") or []}
    kept = {one.name for one in made if one.replaces is not None}
    taken_over = {} if len(kept) == len(made) else carried([one for name, one in before.items() if name not in kept])
    starts = [before[one.name] if one.name in kept else _new(one, taken_over) for one in made]
    document["instances"] = CommentedSeq(
        _instance(one, start, defaults, gpus, kv_cache_type) for one, start in zip(made, starts, strict=True)
    )
    document["models"] = _models(document.get("models"), rules)
    out = io.StringIO()
    yaml.dump(document, out)
    return out.getvalue()


def _gpus(before: Any, gpus: Sequence[Gpu]) -> Any:
    """Keep the section as it is where it says the same."""
    entries = CommentedSeq(_flow({"id": gpu.id, "memory": f"{gpu.bytes >> 20}MiB"}) for gpu in gpus)
    known = [one.get("id") for one in before or [] if one.get("memory")]
    return before if known == [gpu.id for gpu in gpus] else entries


def _flow(data: dict[str, Any]) -> CommentedMap:
    made = CommentedMap(data)
    made.fa.set_flow_style()
    return made


def _new(entry: PlannedInstance, taken_over: dict[str, Any]) -> CommentedMap:
    return CommentedMap({"name": entry.name, "url": entry.url, "gpus": (), **deepcopy(taken_over)})


def _instance(
    entry: PlannedInstance, made: CommentedMap, defaults: Any, gpus: Sequence[Gpu], kv_cache_type: str | None
) -> CommentedMap:
    made["name"] = entry.name
    made["url"] = entry.url
    made["gpus"] = CommentedSeq(entry.gpus)
    made["gpus"].fa.set_flow_style()
    made.pop("vram", None)
    if "vram" in defaults:
        made["vram"] = f"{sum(gpu.bytes for gpu in gpus if gpu.id in entry.gpus) >> 20}MiB"
    made["num_parallel"] = entry.num_parallel
    made["max_connections"] = entry.max_connections
    ollama = made.setdefault("ollama", CommentedMap())
    ollama["context_length"] = entry.context
    ollama["max_loaded_models"] = entry.max_loaded
    if kv_cache_type is not None:
        ollama["kv_cache_type"] = kv_cache_type
    return made


def _models(before: Any, rules: Sequence[Rule]) -> CommentedSeq:
    found = CommentedSeq() if before is None else before
    known = {_key(one.get("match")): one for one in found}
    for rule in reversed(rules):
        there = known.get(rule.model)
        if there is None:
            there = CommentedMap({"match": "", **_held(found, rule.model)})
            there["match"] = display(rule.model)
            found.insert(0, there)
        for key in ("instances", "size", "shape"):
            there.pop(key, None)
        for key, value in rule.data().items():
            there[key] = _inline(value)
    return found


def _held(found: CommentedSeq, model: str) -> dict[str, Any]:
    """Return what the first rule says that matches a model."""
    return next((dict(one) for one in found if matches(str(one.get("match")), model)), {})


def _key(match: Any) -> str:
    """Return the model that a rule is for; "" when it is for several, or cannot be read."""
    try:
        return "" if not isinstance(match, str) or is_pattern(match) else canonical(match)
    except ValueError:
        return ""


def _inline(value: Any) -> Any:
    if isinstance(value, dict):
        return _flow(value)
    if isinstance(value, list):
        made = CommentedSeq(value)
        made.fa.set_flow_style()
        return made
    return value
