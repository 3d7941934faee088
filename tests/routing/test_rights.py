from dataclasses import replace

import pytest

from spoe_agent.routing import Action, Dialect, FleetSpec, InstanceSpec, Kind, Reason, RequestFacts, Snapshot, choose
from spoe_agent.routing.rights import EVERYTHING, Rights

FLEET = FleetSpec((InstanceSpec("g0", 4),))
SOME = Rights("some", models=("alpha", "qwen*:7b", "hf.co/*"), may_manage=False)
ASK = RequestFacts("r", Kind.INFERENCE, Dialect.OLLAMA, rights=SOME)


@pytest.mark.parametrize(
    ("name", "may"),
    [
        ("alpha", True),
        ("ALPHA:latest", True),
        ("registry.ollama.ai/library/alpha", True),
        ("https://registry.ollama.ai/library/alpha:latest", True),
        ("alpha:7b", False),
        ("alphabet", False),
        ("me/alpha", False),
        ("qwen2.5:7b", True),
        ("qwen2.5:7b-instruct", False),
        ("hf.co/a/b:Q4", True),
        ("HF.co/a/b:Q4", True),
        ("alpha:cloud", False),
        ("secret", False),
    ],
)
@pytest.mark.parametrize("kind", [Kind.INFERENCE, Kind.DESCRIBE, Kind.UNLOAD])
def test_a_key_is_kept_to_its_models(kind: Kind, name: str, may: bool) -> None:
    choice = choose(replace(ASK, kind=kind).naming(name), FLEET, Snapshot(0.0))
    assert (choice.reason is Reason.NOT_ALLOWED) is not may
    if not may:
        assert (choice.action, choice.status) == (Action.REJECT, 404)
        assert choice.message == f"model '{name}' not found"


@pytest.mark.parametrize(
    ("rights", "reason"), [(SOME, Reason.NO_RIGHT), (replace(SOME, may_manage=True), None), (EVERYTHING, None)]
)
def test_stores_are_changed_by_who_may(rights: Rights, reason: Reason | None) -> None:
    choice = choose(RequestFacts("r", Kind.MANAGE, Dialect.OLLAMA, rights=rights), FLEET, Snapshot(0.0))
    assert (choice.reason is Reason.NO_RIGHT) is (reason is Reason.NO_RIGHT)
    assert reason is None or choice.status == 403
