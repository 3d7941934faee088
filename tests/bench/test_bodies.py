import json

import pytest

from bench.bodies import body
from tests.requests.reference import ollamas_model


@pytest.mark.parametrize("is_last", [True, False])
@pytest.mark.parametrize("size", [0, 10_000, 300_000])
def test_bodies_have_the_size_and_the_place_of_the_model_that_were_asked_for(size, is_last):
    made = [body(seed, size, is_last=is_last) for seed in range(4)]
    for one in made:
        assert ollamas_model(one) == "alpha"
        assert list(json.loads(one))[-1 if is_last else 0] == "model"
        assert abs(len(one) - size) <= max(200, size * 0.35)
    assert made == [body(seed, size, is_last=is_last) for seed in range(4)]
    assert len({*made}) > 1
