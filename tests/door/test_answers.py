"""Answers for the whole fleet: written once for as long as what they are made of is the same."""

import json
from dataclasses import replace
from functools import partial

import pytest

from spoe_agent.door.answers import Answers, media_type
from spoe_agent.door.catalogue import ANSWERS, Listing
from spoe_agent.instances.lists import Lists
from tests.door.test_catalogue import lists, tag


class Fleet:
    """One instance; counts what was read anew."""

    def __init__(self, *entries, **more):
        self.lists, self.looked = lists(*entries, **more), []
        looks = {source: partial(self.look, source) for source in Listing}
        self.answers = Answers(lambda: {"g0": self.lists}, looks)

    async def look(self, source):
        self.looked.append(source)


async def test_each_path_is_answered_with_its_list():
    fleet = Fleet(tag("a:1"), loaded=[{"name": "a:1", "model": "a:1"}])
    told = {path: json.loads(await fleet.answers.to(path)) for path in ANSWERS}
    assert told["/api/tags"]["models"] == [tag("a:1")]
    assert told["/api/ps"]["models"] == [{"name": "a:1", "model": "a:1", "instance": "g0"}]
    assert [model["id"] for model in told["/v1/models"]["data"]] == ["a:1"]
    assert told["/api/version"] == {"version": "0.33.0"}


@pytest.mark.parametrize(
    ("path", "looks"),
    [
        ("/api/tags", [Listing.STORES]),
        ("/v1/models", [Listing.STORES]),
        ("/api/ps", [Listing.LOADED]),
        ("/api/version", []),
    ],
)
async def test_only_what_an_answer_is_made_of_is_read_anew(path, looks):
    fleet = Fleet(tag("a:1"))
    await fleet.answers.to(path)
    assert fleet.looked == looks


async def test_an_answer_is_the_same_object_until_what_it_is_made_of_changes():
    fleet = Fleet(tag("a:1"))
    first = await fleet.answers.to("/api/tags")
    fleet.lists = replace(fleet.lists, loaded={"b": {"name": "b"}}, loaded_text=b"b", version="9")
    assert await fleet.answers.to("/api/tags") is first
    fleet.lists = lists(tag("a:1"), tag("b:1"))
    assert b"b:1" in await fleet.answers.to("/api/tags")


async def nothing():
    pass


async def test_where_all_say_the_same_that_is_the_answer():
    """As it came: to write a long list anew takes milliseconds. Who was never read says nothing."""
    same = lists(tag("a:1"))
    fleet = {"g0": same, "g1": Lists(), "g2": replace(same)}
    answers = Answers(lambda: fleet, dict.fromkeys(Listing, nothing))
    assert await answers.to("/api/tags") is same.installed_text
    fleet["g1"] = lists(tag("b:1"))
    assert [model["name"] for model in json.loads(await answers.to("/api/tags"))["models"]] == ["a:1", "b:1"]


@pytest.mark.parametrize("odd", ["\ud800", "\x00", "\U0001f999"])
async def test_whatever_text_an_instance_sends_the_list_is_one(odd):
    fleet = Fleet(tag("a:1", family=odd), tag("b:1", digest=["no", "text"]))
    assert [model["name"] for model in json.loads(await fleet.answers.to("/api/tags"))["models"]] == ["a:1", "b:1"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/api/tags", "application/json; charset=utf-8"), ("/v1/models", "application/json")],
)
def test_the_media_type_is_ollamas(path, expected):
    assert media_type(path) == expected
