"""Recorded requests as the simulation takes them: lengths that nobody knows, and what is unloaded for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from spoe_agent.replay.recorded import Decision, Ended, Recorded, RecordedCandidate
from spoe_agent.replay.requests import Again, Beginning, Told, told
from spoe_agent.simulator.virtual.requests import RequestOutcome
from tests.replay.rig import MODELS, WALL_S, profile

BY_NAME = {model.name: model for model in MODELS}


def decision(number: int, model: str, total_s: float = 2.0, is_whole: bool = True, evicts: str = "") -> Decision:
    ended = Ended(
        server="g0", status=200, termination="--", first_byte_s=total_s / 2, total_s=total_s, is_whole=is_whole
    )
    return Decision(
        id=f"r{number}", time=WALL_S + number, kind="inference", model=model, action="route", reason="room",
        instance="g0", candidates={"g0": RecordedCandidate(state="evict", evicts=evicts.split())}, ended=ended,
    )  # fmt: skip


def requests(*decisions: Decision) -> list[Told]:
    return told(Recorded(list(decisions)), BY_NAME, profile(), 1.0, lead_s=0.0)


def test_who_ended_badly_is_as_long_as_others_of_its_model() -> None:
    found = requests(
        decision(0, "a:latest", total_s=1.0),
        decision(1, "a:latest", total_s=9.0),
        decision(2, "b:latest", total_s=90.0),
        decision(3, "a:latest", is_whole=False),
        decision(4, "c:latest", is_whole=False),
    )
    short, long, _, cut, alone = (one.output_tokens for one in found)
    assert cut == pytest.approx((short + long) / 2)
    assert alone == 200.0


class Counted(list[Told]):
    """Requests that count how often all of them are gone through."""

    readings = 0

    def __iter__(self) -> Iterator[Told]:
        self.readings += 1
        return super().__iter__()


def test_what_was_unloaded_is_found_without_going_through_all_requests_for_each() -> None:
    counted = Counted(requests(decision(0, "a:latest"), decision(1, "b:latest", evicts="a:latest gone:latest")))
    router = Again(counted, ["g0"], Beginning({}, ()))
    ended = [RequestOutcome(one.request(number, one.at_s)) for number, one in enumerate(list(counted))]
    before = counted.readings
    assert [[model.name for model in router.unloads(one)] for one in ended] == [[], ["a:latest"]]
    assert counted.readings == before
