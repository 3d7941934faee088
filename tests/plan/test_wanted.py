"""The file of wishes, and what is wrong with it."""

import pytest

from spoe_agent.fleet import FleetError
from spoe_agent.plan.wanted import load
from spoe_agent.routing.names import canonical


def read(folder, text):
    file = folder / "wanted.yaml"
    file.write_text(text)
    return load(file)


def test_everything(tmp_path):
    wanted = read(
        tmp_path,
        "gpus: [{id: 0, memory: 24GiB}]\ncontext: 8192\nkv_cache_type: q8_0\nmodels:\n"
        "- {model: llama3, demand: 2.5, slots: 2, copies: 2, context: 512, size: 5GB,\n"
        "   shape: {cache_per_token: 128KiB}}\n",
    )
    (one,) = wanted.models
    assert (one.model, one.demand, one.slots, one.copies, one.context) == (canonical("llama3"), 2.5, 2, 2, 512)
    assert (int(one.size), int(one.shape.cache_per_token)) == (5 * 10**9, 131072)
    assert (wanted.gpus[0].id, int(wanted.gpus[0].memory), wanted.context) == (0, 24 << 30, 8192)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "models: [{model: 'a b'}]",
            "wanted.yaml:1: models[0].model: 'a b' is not a model name; write it as Ollama takes it",
        ),
        ("\nmodels:\n- model: a\n  demand: -1", "wanted.yaml:4: models[0].demand: "),
        ("models: [{model: a, vram: 5}]", "models[0].vram: "),
        ("models: [{model: a}, {model: 'a:latest'}]", "models[1]: is here twice; keep one of them"),
        ("gpus: [{id: 0, memory: 24GiB}, {id: 0, memory: 24GiB}]", "gpus[1]: is here twice"),
        ("gpus: [{id: 0, memory: 24}]", "did you mean 24GiB?"),
        ("", "wanted.yaml: is empty; write at least one entry under models"),
        ("- llama3", "wanted.yaml:1: is not a mapping of keys; begin with models:"),
        ("models: {", "not valid YAML"),
        ("gpus: 5", "gpus: must be a list, not 5"),
        ("foo: 1", "foo: unknown key"),
        ("models: [a]", "models[0]: must be a mapping of keys, not 'a'"),
        ("models: [{model: !x a}]", "has the tag"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path, text, said):
    with pytest.raises(FleetError) as failed:
        read(tmp_path, text)
    assert said in str(failed.value)


def test_no_text(tmp_path):
    (tmp_path / "wanted.yaml").write_bytes(b"models: \xff")
    with pytest.raises(FleetError, match="is not UTF-8 text; look at byte 8"):
        load(tmp_path / "wanted.yaml")
