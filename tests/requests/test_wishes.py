from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoe_agent.requests.reading import Whole, facts
from spoe_agent.requests.wishes import WishError, read_wishes, unpacked
from spoe_agent.routing import RequestProblem
from spoe_agent.routing.wishes import NO_WISHES, Wishes

READ = {
    ("", "", ""): NO_WISHES,
    ("gpu0", "", ""): Wishes("gpu0"),
    ("", "interactive", ""): Wishes(priority=0),
    ("", "batch", ""): Wishes(priority=100),
    ("", "", "30"): Wishes(wait_s=30.0),
    ("", "", "0"): Wishes(wait_s=0.0),
    ("", "", "1.5s"): Wishes(wait_s=1.5),
    ("", "", "250ms"): Wishes(wait_s=0.25),
    ("", "", "2m"): Wishes(wait_s=120.0),
    ("a.b-c_1", "batch", "1h"): Wishes("a.b-c_1", 100, 3600.0),
}


@pytest.mark.parametrize(("values", "expected"), READ.items(), ids=map(str, READ))
def test_what_headers_wish(values, expected):
    assert read_wishes(*values) == expected


WRONG = [
    (("a b", "", ""), "header x-pointsman-instance: 'a b' is not a name of an instance"),
    (("../gpu0", "", ""), "header x-pointsman-instance: "),
    (("", "Batch", ""), "header x-pointsman-priority: 'Batch' is not interactive or batch"),
    (("", "-100", ""), "header x-pointsman-priority: "),
    (("", "", "soon"), "header x-pointsman-timeout: 'soon' is not seconds, or a time such as 500ms, 30s or 2m"),
    (("", "", "-1"), "header x-pointsman-timeout: "),
    (("", "", "1e9"), "header x-pointsman-timeout: "),
    (("", "", "nan"), "header x-pointsman-timeout: "),
    (("", "", "9" * 10), "header x-pointsman-timeout: "),
    (("x" * 9_000 + "!", "", ""), "header x-pointsman-instance: "),
]


@pytest.mark.parametrize(("values", "told"), WRONG, ids=[case[1] for case in WRONG])
def test_what_cannot_be_read_names_its_header(values, told):
    with pytest.raises(WishError) as caught:
        read_wishes(*values)
    assert str(caught.value).startswith(told)
    assert len(str(caught.value)) < 200


def test_haproxys_text_is_the_three_values():
    assert unpacked("") is NO_WISHES
    assert unpacked("gpu0 batch 5") == Wishes("gpu0", 100, 5.0)
    assert unpacked("  5") == Wishes(wait_s=5.0)


@given(st.text(max_size=30))
def test_nothing_but_wishes_or_an_error_comes_of_any_text(text):
    with suppress(WishError):
        assert isinstance(read_wishes("", "", text), Wishes)


@pytest.mark.parametrize(("path", "method"), [("/api/chat", "POST"), ("/api/tags", "GET"), ("/api/pull", "POST")])
def test_a_bad_header_is_told_whatever_else_is_asked(path, method):
    found = facts(Whole("r1", method, path, b'{"model":"a"}', wished=("", "", "soon")))
    assert found.problem is RequestProblem.BAD_HEADER
    assert facts(Whole("r1", method, path, b'{"model":"a"}', wished=("g", "", "5"))).wishes == Wishes("g", None, 5.0)
