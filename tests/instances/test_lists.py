import gc
import json

import pytest

from spoe_agent.instances.lists import Installed, InstalledModel, ModelList, UnexpectedAnswer, _shared, installed_model
from spoe_agent.routing.names import canonical

A, B = canonical("a"), canonical("b")


def said(*names):
    return json.dumps({"models": [{"name": name, "size": 7, "digest": f"d{name}"} for name in names]}).encode()


def lists():
    return ModelList("/api/tags", installed_model, Installed)


def test_instances_that_say_the_same_share_what_was_read():
    one, other = lists(), lists()
    assert one.read(said("a")) is other.read(said("a"))
    assert one.entries is other.entries
    assert one.read(said("a", "b")).keys() == {A, B}
    assert other.read(said("a")).keys() == {A}
    assert other.read(said("a", "b")) is one.read(said("a", "b"))


def test_of_a_list_that_has_changed_only_what_is_new_is_made_anew():
    made = []
    one = ModelList("/api/tags", lambda entry: made.append(entry["name"]) or installed_model(entry), Installed)
    before = one.read(said("a", "b", "c"))
    changed = said("a", "b").replace(b'"db"', b'"other"')
    assert made == ["a", "b", "c"]
    assert one.read(changed) == {A: InstalledModel(7, "da"), B: InstalledModel(7, "other")}
    assert made == ["a", "b", "c", "b"]
    assert before[B] == InstalledModel(7, "db")


def test_a_list_is_presumed_until_it_is_read():
    one, other = lists(), lists()
    one.read(said("a"))
    other.read(said("b"))
    other.presume(one)
    assert (other.text, other.entries) == (one.text, one.entries)
    assert other.read(said("b")).keys() == {B}


def test_what_nobody_says_any_more_is_forgotten():
    one = lists()
    one.read(said("a", "only here"))
    one.read(said("b", "only here"))
    gc.collect()
    assert ("/api/tags", said("a", "only here")) not in _shared
    assert ("/api/tags", said("b", "only here")) in _shared


def test_what_cannot_be_read_changes_nothing():
    one = lists()
    one.read(said("a"))
    with pytest.raises(UnexpectedAnswer):
        one.read(b"<html>")
    assert one.text == said("a")


def test_half_a_surrogate_pair_is_no_reason_to_know_no_models():
    one = lists()
    assert one.read(rb'{"models":[{"name":"a","details":{"family":"\ud800"}}]}').keys() == {A}


def test_what_is_made_of_the_list():
    models = Installed.of({A: InstalledModel(1, "d1"), B: InstalledModel(2, "d2", True)})
    assert (models.sizes, models.digests, models.one_by_one) == ({A: 1, B: 2}, {A: "d1", B: "d2"}, {B})
    assert Installed.of(models) is models
