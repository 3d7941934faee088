"""Clients as people use them: each call is answered through the front as by one Ollama, field by field.

What is answered is in the table of `conformance.py`; what each client needs, here.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conformance import OWN_WORDS, TABLE
from tests.e2e.conftest import stack_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.both_fronts]

ROOT = Path(__file__).parents[2]
CLIENTS = Path(__file__).parent / "clients"
OFFICIAL = str(ROOT / ".venv-clients" / "bin" / "python")
FRAMEWORKS = str(ROOT / ".venv-frameworks" / "bin" / "python")
AIDER = str(ROOT / ".venv-aider" / "bin" / "aider")
NODE = shutil.which("node") or "node"
OLLAMA = os.environ.get("OLLAMA_BIN") or shutil.which("ollama") or "ollama"
MODELS = (("alpha:latest", "4.7GB"), ("beta:7b", "9GB"), ("embed:latest", "270MB"))
DEADLINE_S = 180.0

RUN: dict[str, tuple[str, ...]] = {
    "ollama.py": (OFFICIAL,),
    "openai.py": (OFFICIAL,),
    "anthropic.py": (OFFICIAL,),
    "curl.py": (OFFICIAL, "curl"),
    "ollama_cli.py": (OFFICIAL, OLLAMA),
    "ollama.mjs": (NODE,),
    "openai.mjs": (NODE,),
    "ai_sdk.mjs": (NODE,),
    "litellm.py": (FRAMEWORKS,),
    "langchain.py": (FRAMEWORKS,),
    "llama_index.py": (FRAMEWORKS,),
    "llm.py": (FRAMEWORKS,),
    "aider.py": (OFFICIAL, AIDER),
}
"""Who runs the calls, and the program that is called, if the calls are a program's."""


class OneOllama(Stack):
    """Simulated instances and no front."""

    async def _start_front(self) -> None:
        return


@dataclass(frozen=True, slots=True)
class Sides:
    """Where the same is asked of both."""

    direct: str
    front: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sides(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sides]:
    """One Ollama, and a front before two that share a store with the same in it."""

    def simulated(instances: int) -> Simulated:
        return Simulated(instances=instances, stores=[("shared", MODELS)] * instances)

    alone = OneOllama(tmp_path_factory.mktemp("alone"), binary, simulated(1))
    async with alone, stack_of(binary, tmp_path_factory.mktemp("fleet"), simulated(2)) as fleet:
        yield Sides(alone.fleet.instances[0].url, fleet.url)


async def use(script: str, *arguments: str, program: str = OFFICIAL) -> dict[str, Any]:
    """Run a client's script and return what it printed."""
    assert Path(OFFICIAL).exists(), f"{OFFICIAL} is missing: run `make test`, which sets the clients' environment up"
    child = await asyncio.create_subprocess_exec(
        program, CLIENTS / script, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(child.communicate(), DEADLINE_S)
    assert child.returncode == 0, err.decode()
    answer: dict[str, Any] = json.loads(out)
    return answer


CHANGING = {"created_at", "modified_at", "expires_at", "created", "completed_at"}
CHANGING |= {"total_duration", "load_duration", "prompt_eval_duration", "eval_duration"}
"""What is another with every call; of it only the type counts."""

IDS = re.compile(r"\b((chatcmpl|cmpl|run-)-|(resp|msg|req)_)[\w-]+|\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
"""So is what answers are known by."""


def steady(said: Any) -> Any:
    """Return an answer without what is another with every call, and without what the front alone tells: `instance`."""
    if isinstance(said, dict):
        kept = {key: value for key, value in said.items() if key != "instance"}
        return {key: type(value).__name__ if key in CHANGING else steady(value) for key, value in kept.items()}
    if isinstance(said, list):
        return [steady(one) for one in said]
    return IDS.sub("ID", said) if isinstance(said, str) else said


def holds(expected: Any, said: Any) -> bool:
    """Tell whether an answer is as the table has it."""
    if isinstance(expected, type):
        return isinstance(said, expected) and said not in ("", [])
    if isinstance(expected, dict):
        return isinstance(said, dict) and all(key in said and holds(one, said[key]) for key, one in expected.items())
    if isinstance(expected, list):
        return isinstance(said, list) and len(said) == len(expected) and all(map(holds, expected, said))
    return bool(said == expected)


async def answers(client: str, url: str) -> dict[str, Any]:
    """Return what a client's calls at a URL are answered with."""
    program, *called = RUN[client]
    found = await use(f"use_{client}", url, *called, program=program)
    return {call: steady(json.loads(json.dumps(said).replace(url, "URL"))) for call, said in found.items()}


@pytest.mark.parametrize("client", TABLE)
async def test_the_front_answers_as_one_ollama(sides: Sides, client: str) -> None:
    for program in RUN[client]:
        if program != OFFICIAL and shutil.which(program) is None:
            pytest.skip(f"{program} is not there: `make clients` installs all but Node.js and Ollama (OLLAMA_BIN)")
    if client.endswith(".mjs") and not (CLIENTS / "node_modules").exists():
        pytest.skip("the clients of the npm registry are not there: `make clients` installs them")
    alone, through = await asyncio.gather(*(answers(client, url) for url in (sides.direct, sides.front)))
    table = TABLE[client]
    assert list(alone) == list(through) == list(table)
    wrong = [(call, side[call]) for side in (alone, through) for call in table if not holds(table[call], side[call])]
    assert wrong == []
    same = [call for call in table if (client, call) not in OWN_WORDS]
    assert {call: through[call] for call in same} == {call: alone[call] for call in same}
