"""Forms, as Go reads them, and forms that are made to take long."""

import pytest

from spoe_agent.requests.form import MAX_HEAD_BYTES, MAX_PARTS, WINDOW_BYTES, field_reading, model_field, parameters
from tests.requests.test_body import FILE_PART, FORM, MODEL_PART, form

HEAD = MODEL_PART[0]
DISPOSED = "Content-Disposition: form-data"


def blanks_behind(boundary, body):
    """A form with more blanks behind its boundary of this number than are looked through."""
    parts = body.split(b"--XyZ")
    parts[boundary] = b" " * 65 + parts[boundary]
    return b"--XyZ".join(parts)


PARAMETERS = {
    "none": ("form-data", {}),
    "two": ('form-data; name="a"; filename=b', {"name": "a", "filename": "b"}),
    "white space, capitals": ('Form-Data ;\r\n NAME = "a" ;', {"name": "a"}),
    "escapes": (r'form-data; name="a\"b\c"', {"name": r'a"b\c'}),
    "empty": ('form-data; name=""', {"name": ""}),
    "the same twice": ("form-data; name=a; name=a", {"name": "a"}),
    "two names": ("form-data; name=a; name=b", {}),
    "open": ('form-data; name="a', {}),
    "no value": ("form-data; name=a; x", {}),
    "an empty one": ("form-data;; name=a", {}),
    "another type": ("attachment; name=a", {}),
}


@pytest.mark.parametrize(("value", "expected"), PARAMETERS.values(), ids=PARAMETERS)
def test_parameters_as_go_parses_them(value, expected):
    assert parameters(value, "form-data") == expected


FORMS = {
    "lines without carriage returns": (form(MODEL_PART, FILE_PART).replace(b"\r\n", b"\n"), "whisper"),
    "another line's end within a part": (form((HEAD, "a\n--XyZ\nb")), "a\n--XyZ\nb"),
    "blanks behind a boundary": (form(MODEL_PART).replace(b"XyZ\r\n", b"XyZ \t\r\n"), "whisper"),
    "a near miss within a part": (form((HEAD, "a\r\n--XyZa\r\nb")), "a\r\n--XyZa\r\nb"),
    "a file of that name": (form((HEAD + '; filename="f"', "RIFF"), MODEL_PART), "whisper"),
    "a folded head": (form(("X: y\r\nContent-Disposition: form-data;\r\n name=model", "m")), "m"),
    "a head of the longest kind": (form((HEAD + "\r\nX: " + "y" * (MAX_HEAD_BYTES - len(HEAD) - 10), "m")), "m"),
    "a head that is longer": (form((HEAD + "\r\nX: " + "y" * MAX_HEAD_BYTES, "m")), None),
    # What follows is a form to Go whose first field of that name says "secret".
    "a name of RFC 2231": (form((DISPOSED + "; name*=utf-8''model", "secret"), MODEL_PART), None),
    "one in pieces": (form((DISPOSED + "; name=x; name*0=mod; name*1=el", "secret"), MODEL_PART), None),
    "a file by RFC 2231": (form((HEAD + "; filename*=utf-8''a", "m"), (HEAD, "secret")), None),
    "a file of another name by RFC 2231": (
        form((DISPOSED + "; name=x; filename*=utf-8''a", "m"), MODEL_PART),
        "whisper",
    ),
    "a long head before": (form((HEAD + "\r\nX: " + "y" * MAX_HEAD_BYTES, "secret"), MODEL_PART), None),
    "many blanks behind a boundary": (form((HEAD, "secret"), MODEL_PART).replace(b"Z", b"Z" + b" " * 65, 1), None),
    "many behind a further one": (blanks_behind(2, form(FILE_PART, (HEAD, "secret"), MODEL_PART)), None),
    "many behind the last": (blanks_behind(2, form(MODEL_PART, FILE_PART)), None),
    "a space that only Python takes for one": (form((DISPOSED + ";\x1cname=model", "m"), (HEAD, "secret")), None),
    "one that only Go does": (form((DISPOSED + ";\xc2\xa0name=model", "secret"), MODEL_PART), None),
    "such a space in a file's name": (
        form((DISPOSED + '; name=file; filename="a\xe2\x80\xafb"', ""), MODEL_PART),
        "whisper",
    ),
    "boundaries without an end": (b"\r\n--XyZ" * 100_000, None),
    "as many parts as Go takes": (form(*[FILE_PART] * (MAX_PARTS - 1), MODEL_PART), "whisper"),
    "more": (form(*[FILE_PART] * MAX_PARTS, MODEL_PART), None),
    "the last boundary first": (b"--XyZ--\r\n" + form(MODEL_PART), None),
    "a boundary across two windows": (form(("X: y", "x" * (WINDOW_BYTES - 20)), MODEL_PART), "whisper"),
}


@pytest.mark.parametrize(("body", "expected"), FORMS.values(), ids=FORMS)
def test_forms(body, expected):
    assert model_field(body, FORM) == expected


LARGE = 16 * WINDOW_BYTES
HOSTILE = {
    "near misses": b"\r\n--XyZa" * (LARGE // 8),
    "one file": form(("X: y", "x" * LARGE)),
    "no lines": b"\r" * LARGE,
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_others_have_their_turn_while_a_large_form_is_read(body):
    assert sum(1 for _ in field_reading(body, FORM)) >= LARGE // WINDOW_BYTES


def test_others_have_their_turn_between_parts():
    part = ('Content-Disposition: form-data; name="' + ";" * (MAX_HEAD_BYTES - 60) + '"', "")
    assert sum(1 for _ in field_reading(form(*[part] * 50), FORM)) >= 50


@pytest.mark.parametrize("more", ["boundary*=utf-8''b", "boundary*0=b", "x*=utf-8''y", "\xa0boundary=b"])
def test_a_boundary_that_go_may_read_otherwise(more):
    assert model_field(form(MODEL_PART), f"{FORM}; {more}") is None


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_content_type_of_megabytes_is_not_looked_through(quote):
    """It took minutes: the standard library looks through all of the rest at each semicolon."""
    assert model_field(form(MODEL_PART), f"multipart/form-data; boundary={quote}" + ";" * 4_000_000 + quote) is None
