import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoe_agent.routing.names import canonical, display, is_cloud, is_pattern, matches, shortest
from tests.routing.builders import untimed

LLAMA3 = "registry.ollama.ai/library/llama3:latest"

SAME = [
    "llama3",
    "llama3:latest",
    "LLAMA3:Latest",
    "library/llama3",
    "registry.ollama.ai/library/llama3:latest",
    "https://registry.ollama.ai/library/llama3",
    "http://registry.ollama.ai/library/llama3",
    " llama3 ",
    "\tllama3\n",
    "llama3:local",
    "llama3:LOCAL",
    "llama3:latest:local",
]


@pytest.mark.parametrize("name", SAME)
def test_one_model_however_it_is_written(name):
    assert canonical(name) == LLAMA3
    assert display(canonical(name)) == "llama3:latest"
    assert matches(name, LLAMA3)


KEYS = [
    # name, key, shortest form
    ("llama3:8b", "registry.ollama.ai/library/llama3:8b", "llama3:8b"),
    ("qwen3:8b:local", "registry.ollama.ai/library/qwen3:8b", "qwen3:8b"),
    ("ns/llama3", "registry.ollama.ai/ns/llama3:latest", "ns/llama3:latest"),
    ("hf.co/a/b:Q4", "hf.co/a/b:q4", "hf.co/a/b:q4"),
    ("hf.co/library/b", "hf.co/library/b:latest", "hf.co/library/b:latest"),
    ("localhost:5000/ns/m", "localhost:5000/ns/m:latest", "localhost:5000/ns/m:latest"),
    ("localhost:5000/ns/m:1", "localhost:5000/ns/m:1", "localhost:5000/ns/m:1"),
    ("https://hf.co/a/b", "hf.co/a/b:latest", "hf.co/a/b:latest"),
    ("_x/_y.z-1:_t", "registry.ollama.ai/_x/_y.z-1:_t", "_x/_y.z-1:_t"),
    ("gpt-oss:20b-cloud", "registry.ollama.ai/library/gpt-oss:20b:cloud", "gpt-oss:20b:cloud"),
    ("gpt-oss:20b:cloud", "registry.ollama.ai/library/gpt-oss:20b:cloud", "gpt-oss:20b:cloud"),
    ("gpt-oss:20B:Cloud", "registry.ollama.ai/library/gpt-oss:20b:cloud", "gpt-oss:20b:cloud"),
    ("big:cloud", "registry.ollama.ai/library/big:latest:cloud", "big:latest:cloud"),
    # No suffix after the last colon: `-cloud` belongs to the model's name.
    ("x-cloud", "registry.ollama.ai/library/x-cloud:latest", "x-cloud:latest"),
    ("localhost:5000/ns/m-cloud", "localhost:5000/ns/m-cloud:latest", "localhost:5000/ns/m-cloud:latest"),
    ("m" * 80 + ":" + "t" * 80, f"registry.ollama.ai/library/{'m' * 80}:{'t' * 80}", f"{'m' * 80}:{'t' * 80}"),
    ("h" * 350 + "/n/m", f"{'h' * 350}/n/m:latest", f"{'h' * 350}/n/m:latest"),
]


@pytest.mark.parametrize(("name", "key", "shortest"), KEYS)
def test_canonical_and_shortest_form(name, key, shortest):
    assert canonical(name) == key
    assert display(key) == shortest
    assert is_cloud(key) is key.endswith(":cloud")


def test_different_models():
    names = ["llama3", "llama3:8b", "hf.co/a/b:Q4", "ns/llama3", "gpt-oss:20b", "gpt-oss:20b-cloud"]
    assert len({canonical(name) for name in names}) == len(names)


INVALID = [
    "",
    "  ",
    ":",
    ":tag",
    "model:",
    "/model",
    "ns/",
    "-model",
    ".model",
    "model:-tag",
    "a b",
    "a@sha256-0",
    "n.s/model",
    "a/b/c/d",
    "-host/ns/model",
    "model:a:b",
    "m" * 81,
    "m:" + "t" * 81,
    "n" * 81 + "/m",
    "h" * 351 + "/n/m",
    "llämä",
    "mode\u212a",  # Kelvin sign: its lower case is an ASCII k
    "model\n:tag",
    "https://llama3",
    "https://ns/llama3",
    "://ns/llama3",
    ":cloud",
    ":local",
    "a:-cloud",
    # modelref.ErrConflictingSourceSuffix
    "a:cloud:local",
    "a:local:cloud",
    "a:cloud:cloud",
    "a:20b-cloud:local",
    "\ud800",
]


@pytest.mark.parametrize("name", INVALID)
def test_what_ollama_refuses(name):
    with pytest.raises(ValueError, match="invalid model name"):
        canonical(name)


def test_a_refused_name_is_quoted_in_part_only():
    with pytest.raises(ValueError) as caught:
        canonical("!" * 100_000)
    assert len(str(caught.value)) < 120


@untimed
@given(
    st.text(max_size=40) | st.from_regex(r"([a-z]{0,3}:?/){0,3}[a-zA-Z.-]{0,4}(:[a-zA-Z-]{0,7}){0,3}", fullmatch=True)
)
def test_a_key_stands_for_itself_and_only_value_error_comes(name):
    try:
        key = canonical(name)
    except ValueError:
        return
    assert canonical(key) == key
    assert canonical(display(key)) == key
    assert canonical(name.upper()) == key


MATCHES = [
    ("llama3", "llama3:latest", True),
    ("LLAMA3", "llama3", True),
    ("llama3", "llama3:8b", False),
    ("llama3:*", "llama3:8b", True),
    ("llama3:*", "llama3.1:8b", False),
    (" Llama3:* ", "llama3:8b", True),
    ("llama3", "llama3:latest:local", True),
    ("hf.co/*", "hf.co/a/b:q4", True),
    ("hf.co/*", "a/b", False),
    ("*", "anything", True),
    ("llama?:latest", "llama3", True),
    ("llama[12]:latest", "llama3", False),
    ("*:cloud", "gpt-oss:20b-cloud", True),
    ("gpt-oss:20b", "gpt-oss:20b-cloud", False),
    ("not a name", "llama3", False),
]


@pytest.mark.parametrize(("match", "model", "expected"), MATCHES)
def test_a_name_or_pattern_of_the_fleet_file(match, model, expected):
    assert matches(match, canonical(model)) is expected


@pytest.mark.parametrize(
    ("match", "expected"), [("a*", True), ("a?", True), ("[ab]", True), ("a", False), ("a:b", False), ("]", False)]
)
def test_what_counts_as_a_pattern(match, expected):
    assert is_pattern(match) is expected


@pytest.mark.parametrize(
    ("name", "told"),
    [
        # As Ollama's /api/show told them.
        ("nobody", "nobody:latest"),
        ("  nobody ", "nobody:latest"),
        ("Nobody:7B", "Nobody:7B"),
        ("library/Nobody", "Nobody:latest"),
        ("LIBRARY/x", "x:latest"),
        ("registry.ollama.ai/library/nobody", "nobody:latest"),
        ("HTTPS://registry.ollama.ai/library/x", "x:latest"),
        ("hf.co/A/B:Q4", "hf.co/A/B:Q4"),
        ("ns/Nob", "ns/Nob:latest"),
        ("nobody:local", "nobody:latest"),
    ],
)
def test_the_shortest_form_in_the_callers_letters(name, told):
    assert shortest(name) == told
