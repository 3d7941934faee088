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


def compact(*names):
    return json.dumps(json.loads(said(*names)), separators=(",", ":")).encode()


def test_of_a_list_that_has_changed_only_what_is_new_is_made_anew():
    made = []
    one = ModelList("/api/tags", lambda entry: made.append(entry["name"]) or installed_model(entry), Installed)
    before = one.read(compact("a", "b", "c"))
    changed = compact("a", "b").replace(b'"db"', b'"other"')
    assert made == ["a", "b", "c"]
    assert one.read(changed) == {A: InstalledModel(7, "da"), B: InstalledModel(7, "other")}
    assert made == ["a", "b", "c", "b"]
    assert before[B] == InstalledModel(7, "db")


@pytest.mark.parametrize(
    "text",
    [
        b'{"models":[{"name":"a","x":1},{"name":"b","x":[{"name":"c"},{"name":"d"}]}]}',
        b'{"models":[{"name":"a","x":"},{\\"name\\":"},{"name":"b"}]}',
        b'{"models":[{"name":"a"}],"more":[{"name":"b"}]}',
        b'{"models":[{"name":"a"},{"name":"b"},{"name":"a","x":2}]}',
        b'{"models":[{"name":"a"},{"model":"b"},{"name":"c"}]}',
        b'{"models":[{"name":"a"},{"name":"b"}]}\n',
        b'{"models":[{"name":"a"},5,{"name":5},{"name":"b"}]}',
        b'{"models":[{"name":"a"},{"name":"\\ud800"}]}',
        b'{"models":null}',
        b'{"models":[]}',
    ],
)
def test_however_a_list_is_written_it_is_what_its_json_says(text):
    one = lists()
    one.read(compact("a", "b"))
    one.read(text)
    named = [one for one in json.loads(text)["models"] or [] if isinstance(one, dict)]
    expected = {one.get("name") or one.get("model"): one for one in named}
    keys = {name: canonical(name) for name in expected if isinstance(name, str) and name.isascii()}
    assert one.entries == {keys[name]: entry for name, entry in expected.items() if name in keys}


@pytest.mark.parametrize("text", [b'{"models":[{"name":"a"},{"name":}]}', b'{"models":[{"name":"a"]}]}'])
def test_a_list_that_is_cut_or_broken_is_none(text):
    with pytest.raises(UnexpectedAnswer):
        lists().read(text)


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
