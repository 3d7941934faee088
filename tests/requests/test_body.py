import json

import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from spoe_agent.requests.body import ZSTD_LIMIT_BYTES, BodyError, read_model

FORM = "multipart/form-data; boundary=XyZ"
MODEL_PART = ('Content-Disposition: form-data; name="model"', "whisper")
FILE_PART = (
    'Content-Disposition: form-data; name="file"; filename="model"\r\nContent-Type: audio/wav',
    "RIFF\x00\x01--XyY",
)


def form(*parts, end="--XyZ--\r\n"):
    return ("".join(f"--XyZ\r\n{head}\r\n\r\n{text}\r\n" for head, text in parts) + end).encode("latin-1")


JSON = {
    "model first": (b'{"model":"m","messages":[]}', "m"),
    "model last, as openai-python sends it": (b'{"messages":[{"role":"user","content":"hi"}],"model":"m"}', "m"),
    "white space": (b' \r\n\t{ "model" : "m" }\n', "m"),
    "deeper models are others": (b'{"options":{"model":"x"},"messages":[{"model":"y"}],"model":"m"}', "m"),
    "escapes in the key and the name": (rb'{"\u006dodel":"a\/\u0062"}', "a/b"),
    "not ASCII": ('{"model":"ü","x":"\\ud83d\\ude00"}'.encode(), "ü"),
    "keys match in any case": (b'{"MoDeL":"m"}', "m"),
    "the last of two wins": (b'{"model":"a","model":"m"}', "m"),
    "the last of two wins in any case": (b'{"model":"a","Model":"m"}', "m"),
    "bytes after the value are ignored": (b'{"model":"m"} trailing', "m"),
    "a second value is ignored": (b'{"model":"m"}{"model":"x"}', "m"),
    "bytes that are no UTF-8": (b'{"prompt":"\xff\xfe","model":"m"}', "m"),
    "a lone surrogate": (rb'{"prompt":"\ud800","model":"m"}', "m"),
    "model before name": (b'{"name":"x","model":"m"}', "m"),
    "numbers of any size": (b'{"n":[1e400,-0,123456789012345678901234567890],"model":"m"}', "m"),
    "nesting deeper than one parser reads": (b'{"x":' + b"[" * 500 + b"]" * 500 + b',"model":"m"}', "m"),
    "white space around the name is kept": (b'{"model":" m "}', " m "),
    "an empty model": (b'{"model":""}', ""),
    "the last of two is empty": (b'{"model":"a","model":""}', ""),
    "null changes nothing": (b'{"model":"m","model":null}', "m"),
    "no model": (b'{"messages":[]}', ""),
    "null for a model": (b'{"model":null}', ""),
    "a model only deeper down": (b'{"x":{"model":"m"}}', ""),
    "name is another field": (b'{"name":"m"}', ""),
    "null for all": (b"null", ""),
}


@pytest.mark.parametrize(("body", "model"), JSON.values(), ids=JSON)
def test_json_by_gos_rules(body, model):
    assert read_model(body) == model
    assert read_model(body, "", "identity") == model


REFUSED = {
    "empty": (b"", "missing request body"),
    "white space": (b" \r\n", "missing request body"),
    "no JSON": (b"model=m", "invalid JSON: "),
    "cut off": (b'{"model":"m"', "invalid JSON: "),
    "single quotes": (b"{'model':'m'}", "invalid JSON: "),
    "a byte order mark": (b'\xef\xbb\xbf{"model":"m"}', "invalid JSON: "),
    "line feed in a text": (b'{"model":"a\nb"}', "invalid JSON: "),
    "endless nesting": (b"[" * 200_000, "not a JSON object"),
    "endless nesting in an object": (b'{"a":' * 100_000, "invalid JSON: "),
    "an array": (b'["model"]', "not a JSON object"),
    "a text": (b'"model"', "not a JSON object"),
    "a number for a model": (b'{"model":7}', "not a string"),
    "an object for a model": (b'{"model":{"a":1}}', "not a string"),
}


@pytest.mark.parametrize(("body", "why"), REFUSED.values(), ids=REFUSED)
def test_bodies_that_name_no_model(body, why):
    with pytest.raises(BodyError, match=why) as caught:
        read_model(body)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("body", "model"),
    [
        (b'{"name":"m"}', "m"),
        (b'{"model":"","name":"m"}', "m"),
        (b'{"model":null,"Name":"m"}', "m"),
        (b'{"name":"x","model":"m"}', "m"),
        (b'{"model":" ","name":"m"}', " "),
        (b"{}", ""),
    ],
)
def test_name_stands_in_for_an_empty_model_where_ollama_lets_it(body, model):
    assert read_model(body, takes_name=True) == model


def test_errors_do_not_quote_the_prompt():
    with pytest.raises(BodyError) as caught:
        read_model(b'{"prompt":"my secret", oops}')
    assert "secret" not in str(caught.value)


ENCODINGS = ["zstd", " zstd "]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_zstd(encoding):
    packed = zstandard.compress(b'{"model":"m"}')
    assert read_model(packed, "", encoding) == "m"


def streamed(data):
    """Packed without its size in the header, as a client does that streams."""
    packer = zstandard.ZstdCompressor().compressobj()
    return packer.compress(data) + packer.flush()


def test_zstd_of_unknown_size():
    assert read_model(streamed(b'{"model":"m"}'), content_encoding="zstd") == "m"


def test_zstd_in_several_frames():
    assert read_model(streamed(b'{"model":') + streamed(b'"m"}'), content_encoding="zstd") == "m"


@pytest.mark.parametrize("pack", [zstandard.compress, streamed])
def test_a_zstd_bomb_is_refused(pack):
    at_the_limit = b'{"model":"m"}'.ljust(ZSTD_LIMIT_BYTES)
    assert read_model(pack(at_the_limit), content_encoding="zstd") == "m"
    with pytest.raises(BodyError, match="larger than 20971520 bytes when unpacked"):
        read_model(pack(at_the_limit + b" "), content_encoding="zstd")
    with pytest.raises(BodyError, match="larger than"):
        read_model(pack(bytes(50 * ZSTD_LIMIT_BYTES // 10)), content_encoding="zstd")


BAD_ZSTD = {
    "not zstd": (b'{"model":"m"}', "invalid zstd body"),
    "cut off": (zstandard.compress(b'{"model":"m"}' * 99)[:-9], "JSON|missing|zstd"),
    "nothing": (b"", "missing request body"),
    "nothing, packed": (zstandard.compress(b""), "missing request body"),
}


@pytest.mark.parametrize(("body", "why"), BAD_ZSTD.values(), ids=BAD_ZSTD)
def test_zstd_that_cannot_be_read(body, why):
    with pytest.raises(BodyError, match=why):
        read_model(body, content_encoding="zstd")


FORMS = {
    "model first": (form(MODEL_PART, FILE_PART), FORM, "whisper"),
    "model last": (form(FILE_PART, MODEL_PART), FORM, "whisper"),
    "quoted boundary, capitals": (form(MODEL_PART), 'Multipart/Form-Data; charset=utf-8; boundary="XyZ"', "whisper"),
    "names without quotes": (form(("content-disposition: form-data; name=model", "m")), FORM, "m"),
    "white space around the name": (form((MODEL_PART[0], " m\r\n")), FORM, "m"),
    "a charset that nobody knows": (form((MODEL_PART[0] + "\r\nContent-Type: text/plain; charset=x", "m")), FORM, "m"),
    "a type that is no text": (form((MODEL_PART[0] + "\r\nContent-Type: image/png", "m")), FORM, "m"),
    "a part of parts": (
        form((MODEL_PART[0] + "\r\nContent-Type: multipart/mixed; boundary=Q", "--Q\r\n\r\nm\r\n--Q--")),
        FORM,
        "--Q\r\n\r\nm\r\n--Q--",
    ),
    "empty": (form((MODEL_PART[0], "")), FORM, ""),
    "before the first boundary": (b"preamble\r\n" + form(MODEL_PART), FORM, "whisper"),
}


@pytest.mark.parametrize(("body", "content_type", "model"), FORMS.values(), ids=FORMS)
def test_forms(body, content_type, model):
    assert read_model(body, content_type) == model


NO_FORMS = {
    "no model": (form(FILE_PART), FORM),
    "another boundary": (form(MODEL_PART), "multipart/form-data; boundary=other"),
    "no boundary": (form(MODEL_PART), "multipart/form-data"),
    "a boundary that is no text": (form(MODEL_PART), "multipart/form-data; boundary=\udcff"),
    "the end is missing": (form(MODEL_PART, end=""), FORM),
    "not a form": (b"{}", FORM),
    "an empty disposition": (form(("Content-Disposition: ;", "m")), FORM),
    "no disposition": (form(("X: y", "m")), FORM),
}


@pytest.mark.parametrize(("body", "content_type"), NO_FORMS.values(), ids=NO_FORMS)
def test_forms_that_name_no_model(body, content_type):
    with pytest.raises(BodyError, match="model is required"):
        read_model(body, content_type)


def test_zstd_and_a_form():
    assert read_model(zstandard.compress(form(MODEL_PART)), FORM, "zstd") == "whisper"


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.dictionaries(st.text(max_size=8), json_values, max_size=5),
    st.text(min_size=1),
    st.text(max_size=5),
    st.booleans(),
)
def test_whatever_else_is_in_the_body(others, model, tail, is_ascii):
    document = {key: value for key, value in others.items() if key.lower() != "model"}
    body = json.dumps({**document, "model": model}, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    got = read_model(body + tail.encode())
    if is_ascii or model.isascii():
        assert got == model


part_heads = st.sampled_from(
    [
        MODEL_PART[0],
        FILE_PART[0],
        "Content-Disposition: form-data; name*=utf-8''model",
        "Content-Disposition: form-data; name*0=mo; name*1=del",
        'Content-Disposition: form-data; name="mod',
        "Content-Disposition: =?x?q?model?=",
        "Content-Disposition: form-data; name=model; name=model",
        MODEL_PART[0] + "\r\nContent-Transfer-Encoding: base64",
        MODEL_PART[0] + "\r\nContent-Transfer-Encoding: x-uuencode",
        MODEL_PART[0] + "\r\nContent-Type: message/rfc822",
        MODEL_PART[0] + "\r\nContent-Type: message/delivery-status",
        MODEL_PART[0] + "\r\nContent-Type: multipart/mixed; boundary=XyZ",
        "Content-Type: multipart/form-data; boundary*=utf-8''%ff",
        "",
        ": \xff",
    ]
)
forms = st.lists(st.tuples(part_heads, st.text(st.characters(max_codepoint=255), max_size=30)), max_size=4)
types = st.text(max_size=20) | st.sampled_from(["", FORM, "multipart/form-data; boundary*=x''XyZ", FORM + "\udcff"])


@given(st.binary(max_size=200) | forms.map(lambda parts: form(*parts)), types, st.sampled_from(["", "zstd", "gzip"]))
@example(form((MODEL_PART[0] + "\r\nContent-Transfer-Encoding: base64", "=\xff")), FORM, "")
def test_nothing_but_a_name_or_a_body_error_comes_of_any_bytes(body, content_type, encoding):
    try:
        assert isinstance(read_model(body, content_type, encoding), str)
    except BodyError as error:
        assert str(error)


@given(st.binary(max_size=200))
def test_packed_bytes_are_read_as_the_plain_ones(body):
    def outcome(*args):
        try:
            return read_model(*args)
        except BodyError as error:
            return type(error), str(error)

    assert outcome(zstandard.compress(body), "", "zstd") == outcome(body, "", "")
