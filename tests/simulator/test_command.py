"""The command's options; the server itself is tested elsewhere."""

from __future__ import annotations

import re
import socket
import sys

import click
import pytest
from click.testing import CliRunner

from spoe_agent.rig.process import Process, accepts
from spoe_agent.simulator.command import BindAddress, ModelSize, Size, simulate


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Size(), "24GiB", 24 * 1024**3),
        (Size(), "4.7GB", 4_700_000_000),
        (BindAddress(), "127.0.0.1:80", ("127.0.0.1", 80)),
        (BindAddress(), "[::1]:80", ("::1", 80)),
    ],
)
def test_values(kind, text, value):
    assert kind.convert(text, None, None) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [(Size(), "big"), (BindAddress(), "80"), (BindAddress(), "x:y"), (ModelSize(), "4GB"), (ModelSize(), "a=b")],
)
def test_refusals(kind, text):
    with pytest.raises(click.BadParameter):
        kind.convert(text, None, None)


def test_models():
    plain = ModelSize().convert("llama3.1:8b=4.7GB", None, None)
    embedding = ModelSize().convert("nomic-embed-text=274MB", None, None)
    assert (plain.name, plain.size_bytes, plain.embedding_only) == ("llama3.1:8b", 4_700_000_000, False)
    assert embedding.embedding_only


def test_a_bad_model_name_is_an_error_of_the_option():
    result = CliRunner().invoke(simulate, ["--models", "a@b=1GB"])
    assert result.exit_code == 2
    assert "--models" in result.output


def test_an_address_in_use_is_said_so():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(simulate, ["--listen", f"127.0.0.1:{port}"])
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: cannot listen on 127.0.0.1:{port}: ")
    assert "simulated Ollama on" not in result.output


async def test_it_says_where_it_listens_when_it_does(tmp_path):
    """Port 0: only who has bound it can tell."""
    command = [sys.executable, "-m", "spoe_agent", "simulate", "--listen", "127.0.0.1:0", "--models", "a=1GB"]
    async with Process("simulate", command, tmp_path) as process:

        async def has_said():
            return "models" in process.output.read_text()

        await process.ready(has_said)
        said = re.fullmatch(r"simulated Ollama on http://127\.0\.0\.1:(\d+), 1 models\n", process.output.read_text())
        assert await accepts("127.0.0.1", int(said[1]))
