"""One answer for what became of a change in several stores."""

import json

import pytest

from spoe_agent.door.change_answer import ChangeAnswer, StoreAnswer, failure, merged

DONE, CREATED = ChangeAnswer(200, b'{"status":"success"}', "application/json"), ChangeAnswer(201)
MISSING = failure(404, "model 'a' not found")
FULL, DENIED = failure(500, "no space left on device"), failure(500, "permission denied")
DOWN, BAD = failure(503, "no Ollama instance is up"), failure(400, "digest mismatch")
PULL, COPY, DELETE, BLOB = "/api/pull", "/api/copy", "/api/delete", "/api/blobs/sha256:0"


def told(status, text):
    return failure(status, text)


# path, how it ended in each of the stores -> the client's answer
TABLE = {
    "done": (PULL, [DONE, DONE], DONE),
    "one failed": (
        PULL,
        [DONE, FULL],
        told(500, "not in every model store: b: no space left on device; done in that of a"),
    ),
    "one was not up": (
        PULL,
        [DONE, DONE, DOWN],
        told(503, "not in every model store: c: no Ollama instance is up; done in that of a, b"),
    ),
    "all alike": (PULL, [FULL, FULL], FULL),
    "each in its way": (
        PULL,
        [FULL, DENIED],
        told(500, "in no model store: a: no space left on device; b: permission denied"),
    ),
    "in several ways": (
        PULL,
        [DOWN, FULL, DONE],
        told(
            500,
            "not in every model store: a: no Ollama instance is up; b: no space left on device; done in that of c",
        ),
    ),
    "deleted where it was": (DELETE, [DONE, MISSING], DONE),
    "copied where it was": (COPY, [MISSING, DONE], DONE),
    "nobody had it": (DELETE, [MISSING, MISSING], MISSING),
    "one could not delete it": (
        DELETE,
        [DONE, DENIED, MISSING],
        told(500, "not in every model store: b: permission denied; done in that of a"),
    ),
    "who had it could not": (DELETE, [DENIED, MISSING], DENIED),
    "a file is there": (BLOB, [ChangeAnswer(200), ChangeAnswer(200)], ChangeAnswer(200)),
    "a file is not there everywhere": (BLOB, [ChangeAnswer(200), MISSING], MISSING),
    "a file came to one, another had it": (BLOB, [ChangeAnswer(200), CREATED], CREATED),
    "a file came to one, another failed": (BLOB, [FULL, CREATED, DOWN], CREATED),
    "a wrong file": (BLOB, [CREATED, BAD], BAD),
    "a file came to none": (BLOB, [FULL, FULL], FULL),
}


@pytest.mark.parametrize(("path", "given", "expected"), TABLE.values(), ids=TABLE)
def test_one_answer(path, given, expected):
    answers = [StoreAnswer(name, one) for name, one in zip("abc", given, strict=False)]
    assert merged(path, answers) == expected


def test_an_error_is_ollamas_shape():
    assert json.loads(failure(500, 'a "quote" \ud800').body.decode()) == {"error": 'a "quote" ?'}
