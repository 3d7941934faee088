"""Requests made to be read in two ways by more than their JSON: types, encodings, forms, paths, other fields."""

from __future__ import annotations

import gzip

import zstandard

from tests.requests.hostile import HOSTILE
from tests.requests.sent import JSON, Sent

MESSAGES = b'"messages":[{"role":"user","content":"hi"}]'
BETA = b'{"model":"beta",' + MESSAGES + b"}"
BOTH = b'{"model":"alpha","MODEL":"beta",' + MESSAGES + b"}"
SPEECH, CHAT, COPY = "/v1/audio/transcriptions", "/v1/chat/completions", "/api/copy"
FORM_TYPE = "multipart/form-data; boundary=B"
FORM = (("Content-Type", FORM_TYPE),)


def typed(kind: str, body: bytes = BETA) -> Sent:
    return Sent(body, headers=(("Content-Type", kind),))


def packed(body: bytes, *encodings: str, path: str = CHAT) -> Sent:
    return Sent(body, path, (*JSON, *(("Content-Encoding", encoding) for encoding in encodings)))


def part(value: bytes, name: bytes = b'name="model"', more: bytes = b"") -> bytes:
    return b"--B\r\nContent-Disposition: form-data; " + name + more + b"\r\n\r\n" + value + b"\r\n"


FILE = part(b"RIFF" + bytes(64), b'name="file"; filename="a.wav"', b"\r\nContent-Type: audio/wav")
END = b"--B--\r\n"


def speech(*parts: bytes, headers: tuple[tuple[str, str], ...] = FORM, query: str = "") -> Sent:
    return Sent(b"".join(parts), SPEECH, headers, query)


TYPES = {
    "no type": Sent(BETA, headers=()),
    "as curl has it": typed("application/x-www-form-urlencoded"),
    "plain text": typed("text/plain; charset=utf-16"),
    "XML": typed("application/xml"),
    "said to be a form, with one behind": typed(FORM_TYPE, BETA + b"\r\n" + part(b"alpha") + FILE + END),
    "a form of curl's": typed("application/x-www-form-urlencoded", b"model=alpha&messages=hi"),
    "a form with parts": typed(FORM_TYPE, part(b"alpha") + FILE + END),
}
PACKED = {
    "gzip": packed(gzip.compress(BETA), "gzip", path="/api/chat"),
    "gzip, OpenAI": packed(gzip.compress(BETA), "gzip"),
    "gzip, not said": packed(gzip.compress(BETA)),
    "said to be gzip": packed(BETA, "gzip"),
    "said to be deflate": packed(BETA, "deflate", path="/api/chat"),
    "zstd": packed(zstandard.compress(BOTH), "zstd"),
    "zstd, Anthropic": packed(zstandard.compress(b'{"max_tokens":9,' + BOTH[1:]), "zstd", path="/v1/messages"),
    "zstd, not said": packed(zstandard.compress(BETA)),
    "zstd on Ollama's own API": packed(zstandard.compress(BETA), "zstd", path="/api/chat"),
    "said to be zstd on Ollama's own API": packed(BETA, "zstd", path="/api/chat"),
    "said to be zstd": packed(BETA, "zstd"),
    "said to be ZSTD": packed(BETA, "ZSTD"),
    "zstd in capitals": packed(zstandard.compress(BETA), "ZSTD"),
    "zstd, then gzip": packed(zstandard.compress(BETA), "zstd", "gzip"),
    "gzip, then zstd": packed(BETA, "gzip", "zstd"),
    "zstd in one line with gzip": packed(BETA, "zstd, gzip"),
    "zstd in frames": packed(zstandard.compress(BOTH[:20]) + zstandard.compress(BOTH[20:]), "zstd"),
    "zstd cut off": packed(zstandard.compress(BETA * 99)[:-20], "zstd"),
    "zstd of nothing": packed(zstandard.compress(b""), "zstd"),
    "zstd that bursts": packed(zstandard.compress(BETA + b" " * (21 << 20)), "zstd"),
    "zstd twice": packed(zstandard.compress(zstandard.compress(BETA)), "zstd"),
}
FORMS = {
    "a form": speech(part(b"beta"), FILE, END),
    "model behind the file": speech(FILE, part(b"beta"), END),
    "two models": speech(part(b"beta"), part(b"alpha"), FILE, END),
    "an empty one first": speech(part(b""), part(b"beta"), FILE, END),
    "a file of that name": speech(part(b"alpha", more=b'; filename="x"'), part(b"beta"), FILE, END),
    "in another case": speech(part(b"alpha", b'name="Model"'), part(b"beta"), FILE, END),
    "in the query too": speech(part(b"beta"), FILE, END, query="model=alpha"),
    "only in the query": speech(FILE, END, query="model=beta"),
    "a model in a model": speech(part(part(b"alpha", b"name=x")), part(b"beta"), FILE, END),
    "before the first boundary": speech(b"model=alpha\r\n", part(b"beta"), FILE, END),
    "behind the last one": speech(FILE, END, part(b"alpha")),
    "no last boundary": speech(part(b"beta"), FILE),
    "no boundary is told": speech(part(b"beta"), FILE, END, headers=(("Content-Type", "multipart/form-data"),)),
    "another boundary is told": speech(
        part(b"beta"), FILE, END, headers=(("Content-Type", "multipart/form-data; boundary=C"),)
    ),
    "two types": speech(part(b"beta"), FILE, END, headers=(*FORM, *JSON)),
    "JSON for a form": Sent(BETA, SPEECH),
    "a form that is said to be JSON": speech(part(b"beta"), FILE, END, headers=JSON),
    "quoted, printable": speech(part(b"be=74a", more=b"\r\nContent-Transfer-Encoding: quoted-printable"), FILE, END),
    "zstd of a form": Sent(
        zstandard.compress(part(b"beta") + FILE + END), SPEECH, (*FORM, ("Content-Encoding", "zstd"))
    ),
}
FIELDS = {
    "name is no model": Sent(b'{"name":"alpha","model":"beta",' + MESSAGES + b"}"),
    "name alone": Sent(b'{"name":"alpha",' + MESSAGES + b"}"),
    "show by name": Sent(b'{"name":"beta"}', "/api/show"),
    "show by both": Sent(b'{"name":"alpha","model":"beta"}', "/api/show"),
    "show, model is empty": Sent(b'{"model":"","NAME":"beta"}', "/api/show"),
    "show, model is null": Sent(b'{"name":"alpha","model":null,"name":"beta"}', "/api/show"),
    "show, name is a number": Sent(b'{"name":7,"model":"beta"}', "/api/show"),
    "in the path": Sent(b"", "/v1/models/beta", (), method="GET"),
    "in the path, escaped": Sent(b"", "/v1/models/be%74a", (), method="GET"),
    "in the path, with a namespace": Sent(b"", "/v1/models/library/beta", (), method="GET"),
    "in the path and in a body": Sent(BOTH, "/v1/models/beta", method="GET"),
    "no messages": Sent(b'{"model":"alpha","model":"beta"}', "/api/generate"),
    "no more than a time": Sent(b'{"model":"beta","keep_alive":"1h"}', "/api/generate"),
    "two times": Sent(b'{"model":"beta","keep_alive":0,"Keep_Alive":"1h"}', "/api/generate"),
    "to embed": Sent(b'{"input":"x","model":"alpha","model":"beta"}', "/api/embed"),
    "a response": Sent(b'{"input":"x","model":"beta","Model":null}', "/v1/responses"),
    "a cloud's and ours": Sent(b'{"model":"gpt-oss:20b-cloud","MODEL":"beta",' + MESSAGES + b"}", CHAT),
    "ours and a cloud's": Sent(b'{"model":"beta","MODEL":"gpt-oss:20b-cloud",' + MESSAGES + b"}", CHAT),
    "a cloud's and ours, and more": Sent(
        b'{"model":"gpt-oss:20b-cloud","MODEL":"beta",' + MESSAGES + b"} and more", CHAT
    ),
    "a cloud's and ours, far apart": Sent(
        b'{"model":"gpt-oss:20b-cloud","x":"' + b"x" * 40_000 + b'","MODEL":"beta",' + MESSAGES + b"}", CHAT
    ),
}
CHANGES = {
    "copy": Sent(b'{"source":"alpha","destination":"x","SOURCE":"beta"}', COPY),
    "copy, a long s": Sent('{"source":"alpha","\u017fource":"beta","destination":"x"}'.encode(), COPY),
    "copy, a long s, escaped": Sent(rb'{"source":"alpha","\u017fource":"beta","destination":"x"}', COPY),
    "copy, far": Sent(b'{"source":"alpha","x":"' + b"x" * 40_000 + b'","source":"beta","destination":"x"}', COPY),
    "copy, model": Sent(b'{"model":"alpha","source":"beta","destination":"x"}', COPY),
    "copy, null": Sent(b'{"source":"beta","source":null,"destination":"x"}', COPY),
    "copy, a mark": Sent(b'\xef\xbb\xbf{"source":"alpha","destination":"x"}', COPY),
    "copy, a number": Sent(b'{"source":"alpha","source":7,"destination":"x"}', COPY),
    "delete": Sent(b'{"name":"alpha","model":"beta"}', "/api/delete", method="DELETE"),
    "delete by name": Sent(b'{"name":"alpha","Name":"beta"}', "/api/delete", method="DELETE"),
    "push": Sent(rb'{"mode\u006c":"beta"}', "/api/push"),
}
"""`source` of a copy, and what a deletion or a push is of."""

REQUESTS = {**TYPES, **PACKED, **FORMS, **FIELDS}
EVERY = {**{name: Sent(body) for name, body in HOSTILE.items()}, **REQUESTS, **CHANGES}
"""All of them, those of `hostile` too."""

TURNED_AWAY = {
    "quoted, printable",
    "a cloud's and ours",
    "a cloud's and ours, far apart",
    "a cloud's and ours, and more",
    "in the path, with a namespace",
}
"""Refused by the front though Ollama might take them: nobody sends such, and each could mean two models."""
