"""One list for the whole fleet: what is in it, in which order, whatever the instances hold."""

import json

import pytest

from spoe_agent.door import catalogue
from spoe_agent.instances.lists import Lists, ModelList

DAY = "2026-08-{:02}T12:00:00.123456789+02:00"


def tag(name, day=1, digest="d1", **more):
    return {"name": name, "model": name, "modified_at": DAY.format(day), "digest": digest, "size": 5, **more}


def lists(*entries, loaded=(), version="0.33.0"):
    """Return what an instance says that has these models."""
    installed, running = ModelList("/api/tags", lambda entry: entry), ModelList("/api/ps", lambda entry: entry)
    installed.read(json.dumps({"models": entries}).encode())
    running.read(json.dumps({"models": loaded}).encode())
    return Lists(installed.entries, installed.text, running.entries, running.text, version)


def names(answer):
    return [entry["name"] for entry in answer["models"]]


def test_each_model_is_listed_once_the_one_changed_last_first():
    fleet = {"g0": lists(tag("a:1", 1), tag("b:1", 3)), "g1": lists(tag("b:1", 3), tag("c:1", 2))}
    assert names(catalogue.tags(fleet)) == ["b:1", "c:1", "a:1"]


def test_names_that_ollama_holds_equal_are_one_model():
    fleet = {"g0": lists(tag("a:latest")), "g1": lists(tag("A"), tag("b"))}
    assert names(catalogue.tags(fleet)) == ["a:latest", "b"]


def test_of_different_models_under_one_name_the_newest_is_listed_and_told():
    fleet = {"g0": lists(tag("a:1", 1, "old")), "g1": lists(tag("a:1", 2, "new")), "g2": lists(tag("b:1"))}
    assert [entry["digest"] for entry in catalogue.tags(fleet)["models"]] == ["new", "d1"]
    assert catalogue.differing(fleet) == ["registry.ollama.ai/library/a:1"]
    assert catalogue.differing({"g0": fleet["g0"], "g2": fleet["g2"]}) == []


def test_entries_are_passed_on_as_they_are():
    entry = tag("a:1", capabilities=["tools"], details={"family": "llama"}, made_up_by_a_later_version=[1])
    assert catalogue.tags({"g0": lists(entry)}) == {"models": [entry]}


def test_every_copy_is_listed_with_its_instance_who_stays_longest_first():
    short, long = ({"name": "a:1", "model": "a:1", "size_vram": 7, "expires_at": DAY.format(day)} for day in (1, 2))
    forever = {"name": "b:1", "model": "b:1", "expires_at": "2318-01-01T00:00:00Z"}
    fleet = {"g0": lists(loaded=[short]), "g1": lists(loaded=[long, forever])}
    assert catalogue.ps(fleet) == {
        "models": [forever | {"instance": "g1"}, long | {"instance": "g1"}, short | {"instance": "g0"}]
    }


def test_openais_list_has_the_same_models():
    fleet = {"g0": lists(tag("a:1", 1)), "g1": lists(tag("someone/b:1", 2))}
    assert catalogue.openai_models(fleet) == {
        "object": "list",
        "data": [
            {"id": "someone/b:1", "object": "model", "created": 1785664800, "owned_by": "someone"},
            {"id": "a:1", "object": "model", "created": 1785578400, "owned_by": "library"},
        ],
    }


def test_a_fleet_without_models_answers_as_an_ollama_without():
    fleet = {"g0": lists(), "g1": Lists()}
    assert catalogue.tags(fleet) == {"models": []} == catalogue.ps(fleet)
    assert catalogue.openai_models(fleet) == {"object": "list", "data": None}


@pytest.mark.parametrize(
    ("versions", "lowest"),
    [
        (("0.9.7", "0.30.0"), "0.9.7"),
        (("0.30.0", "0.30.0-rc2"), "0.30.0-rc2"),
        (("", "0.33.0"), "0.33.0"),
        (("0.33.1", "0.33.0"), "0.33.0"),
        (("v0.5.0", "0.30.0"), "v0.5.0"),
        (("", ""), ""),
    ],
)
def test_the_lowest_version_is_told(versions, lowest):
    fleet = {f"g{number}": lists(version=version) for number, version in enumerate(versions)}
    assert catalogue.version(fleet) == {"version": lowest}


@pytest.mark.parametrize("time", [None, 5, "", "yesterday", "9999999-01-01"])
def test_times_that_are_none_come_last(time):
    fleet = {"g0": lists(tag("a:1") | {"modified_at": time}, tag("b:1"))}
    assert names(catalogue.tags(fleet)) == ["b:1", "a:1"]
