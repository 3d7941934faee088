"""A store as a real Ollama reads it."""

import json

import pytest

from spoe_agent.fleet import loads
from spoe_agent.instances.store import found_store, weights
from spoe_agent.routing.names import canonical
from tests.simulator.tiny_gguf import add_model


def instance(more=""):
    return loads(f"instances: [{{name: a, url: 'http://127.0.0.1:1'{more}}}]").instances[0]


def test_the_files_that_a_load_reads(tmp_path):
    add_model(tmp_path, "small", template="{{ .Prompt }}")
    (file,) = weights(tmp_path)[canonical("small")]
    assert file.read_bytes().startswith(b"GGUF")


def test_a_projector_and_an_adapter_are_read_too(tmp_path):
    layers = [
        {"mediaType": f"application/vnd.ollama.image.{kind}", "digest": f"sha256:{number}"}
        for number, kind in enumerate(("model", "projector", "adapter", "template", "license"))
    ]
    path = tmp_path / "manifests" / "hf.co" / "me" / "vision" / "q4"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"layers": layers}))
    assert [file.name for file in weights(tmp_path)["hf.co/me/vision:q4"]] == ["sha256-0", "sha256-1", "sha256-2"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"layers": null}', '{"layers": [{}]}'])
def test_what_is_no_manifest_names_no_files(tmp_path, text):
    path = tmp_path / "manifests" / "registry.ollama.ai" / "library" / "odd" / "latest"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert not any(weights(tmp_path).values())


def test_an_empty_store(tmp_path):
    assert weights(tmp_path) == {}


def test_where_nothing_is_at_home_it_is_the_services(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    service = tmp_path / "service"
    assert found_store(instance(), service) == tmp_path / "me" / ".ollama" / "models"
    add_model(tmp_path / "service", "small", template="")
    assert found_store(instance(), service) == tmp_path / "service"
    assert found_store(instance(f", ollama: {{models: {tmp_path}/own}}"), service) == tmp_path / "own"
    add_model(tmp_path / "me" / ".ollama" / "models", "small", template="")
    assert found_store(instance(), service) == tmp_path / "me" / ".ollama" / "models"
