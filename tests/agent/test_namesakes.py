import pytest

from spoe_agent.agent.namesakes import Namesakes
from tests.rigs import asks

BASE, COPY, OTHER = "m/base", "m/another", "m/other"

LISTS = {
    # what each instance lists -> the name that routing has, where it is another
    "copies": ([{BASE: "d1", COPY: "d1", OTHER: "d2"}], {BASE: COPY}),
    "copies in two stores": ([{BASE: "d1", COPY: "d1"}] * 2, {BASE: COPY}),
    "three of them": ([{BASE: "d1", COPY: "d1", OTHER: "d1"}], {BASE: COPY, OTHER: COPY}),
    "others": ([{BASE: "d1", COPY: "d2"}], {}),
    "one store has both": ([{BASE: "d1", COPY: "d1"}, {BASE: "d1"}], {}),
    "another model in the other store": ([{BASE: "d1", COPY: "d1"}, {BASE: "d1", COPY: "d2"}], {}),
    "no digests": ([{BASE: "", COPY: ""}], {}),
    "nothing": ([], {}),
}


def read(*lists):
    it = Namesakes()
    for number, digests in enumerate(lists):
        it.read(f"g{number}", digests)
    return it


@pytest.mark.parametrize(("lists", "expected"), LISTS.values(), ids=LISTS)
def test_names_that_one_runner_serves(lists, expected):
    it = read(*lists)
    assert {name: it.runner(name) for name in (BASE, COPY, OTHER) if it.runner(name) != name} == expected


def test_a_model_keeps_its_name_when_it_is_copied_and_hands_it_on_when_it_is_deleted():
    it = read({BASE: "d1"})
    it.read("g0", {COPY: "d1", BASE: "d1"})
    assert (it.runner(COPY), it.runner(BASE)) == (BASE, BASE)
    it.read("g0", {COPY: "d1", OTHER: "d1"})
    assert (it.runner(COPY), it.runner(OTHER)) == (COPY, COPY)


def test_a_copy_that_became_another_model():
    it = read({COPY: "d1", BASE: "d1"})
    it.read("g0", {COPY: "d2", BASE: "d1"})
    assert (it.runner(COPY), it.runner(BASE)) == (COPY, BASE)


def test_whom_the_fleet_has_lost_says_nothing():
    it = read({COPY: "d1", BASE: "d1"}, {BASE: "d1"})
    assert it.runner(BASE) == BASE
    it.forget("g1")
    assert it.runner(BASE) == COPY


def test_requests_and_lists_get_that_name():
    it = read({COPY: "d1", BASE: "d1"})
    named = it.identify(asks(BASE))
    assert (named.model, named.runner) == (BASE, COPY)
    assert it.identify(asks(COPY)).runner == COPY
    assert it.identify(asks(None)).runner is None
    assert it.joined({BASE: 1, OTHER: 2}) == {COPY: 1, OTHER: 2}
    same = {OTHER: 2}
    assert it.joined(same) is same


def test_a_name_that_is_one_no_more_is_taken_from_requests():
    it = read({COPY: "d1", BASE: "d1"})
    named = it.identify(asks(BASE))
    it.forget("g0")
    assert it.identify(named).runner == BASE
