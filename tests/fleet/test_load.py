# ruff: noqa: E501 - tables of what is written and what is answered, a case a line

from __future__ import annotations

from pathlib import Path

import pytest

from spoe_agent.fleet import FleetError, admin_address, find, load, loads
from tests.fleet.lines import INSTANCE, refusals

TEN = """\
listeners: {front: localhost:11435}
instances:
  - name: gpu0
    url: http://127.0.0.1:11435
    num_paralel: 4
  - name: gpu0
    url: http://localhost:11436
    gpus: [0]
    vram: lots
  - name: gpu2
    url: http://127.0.0.1:11436
    gpus: [0]
  - url: 11438
models:
  - match: llama3
  - match: library/llama3:latest
policies: {poll: {interval: 1m}, retry_after: soon}
"""

TEN_LINES = """\
fleet.yaml:4: instances[0].url: 127.0.0.1:11435 is taken by listeners.front; let this Ollama listen on another port, like 11437
fleet.yaml:5: instances[0].num_paralel: unknown key; did you mean num_parallel?
fleet.yaml:6: instances[1].name: gpu0 is also the name of instances[0]; give each instance its own name
fleet.yaml:9: instances[1].vram: 'lots' is not a size; write 24GiB, 512MiB or a number of bytes
fleet.yaml:11: instances[2].url: 127.0.0.1:11436 is taken by gpu0; let this Ollama listen on another port, like 11437
fleet.yaml:12: instances[2].gpus: GPU 0 is used by gpu0 too; use another GPU, or write shared: true on gpu0 and gpu2
fleet.yaml:13: instances[3].name: is missing; write name: gpu0
fleet.yaml:13: instances[3].url: 11438 is not a URL; for example http://127.0.0.1:11435
fleet.yaml:16: models[1].match: is never reached: models[0] ('llama3') matches first; merge the two, or put the narrower one first
fleet.yaml:17: policies.retry_after: 'soon' is not a duration; write 30s, 5m or 1h30m; a plain number is seconds
fleet.yaml:17: policies.poll.interval: interval 60s is above max_age 10s: every reading would be too old; write interval below 10s, or a larger max_age
"""


def test_everything_wrong_is_said_at_once() -> None:
    assert refusals(TEN) == TEN_LINES.splitlines()


@pytest.mark.parametrize(
    ("text", "only"),
    [
        # a front that cannot be read is not taken for the default one
        ('listeners: {front: x}\ninstances: [{name: a, url: "http://127.0.0.1:11434"}]', "listeners.front"),
        ('listeners: {front: !x "h:1"}\ninstances: [{name: a, url: "http://127.0.0.1:11434"}]', "listeners.front"),
        (f"instances: [{INSTANCE}]\npolicies: {{poll: {{interval: 30s, max_age: long}}}}", "policies.poll.max_age"),
        ("instances: 5\nmodels: [{match: a, instances: [gpu0]}]", "instances"),
        ('instances: [{name: 5, url: "http://h:1"}]\nmodels: [{match: a, instances: ["5"]}]', "instances[0].name"),
        (f"instances: [{INSTANCE}, 7]\nmodels: [{{match: a, instances: [b]}}]", "instances[1]"),
        (
            'instances: [{name: a, url: "http://h:1", gpus: [0], shared: x}, {name: b, url: "http://h:2", gpus: [0], shared: true}]',
            "instances[0].shared",
        ),
        (
            'instances: [{name: a, url: "http://h:1", gpus: [0], vram: x}]\ngpus: [{id: 0, memory: 1GiB}]\nmodels: [{match: m, vram: 9GiB}]',
            "instances[0].vram",
        ),
        ('instances: [{name: a, url: "http://h:1", gpus: [1]}]\ngpus: [{id: x}]', "gpus[0].id"),
    ],
)
def test_no_rule_speaks_on_what_could_not_be_read(text: str, only: str) -> None:
    with pytest.raises(FleetError) as caught:
        loads(text)
    assert [problem.key for problem in caught.value.problems] == [only]


def test_a_section_and_what_is_inside_of_it_may_both_be_wrong() -> None:
    assert refusals(f"instances: [{INSTANCE}]\ncallers: [7, {{caller: {{}}}}, {{}}]") == [
        "fleet.yaml:2: callers[0]: must be a mapping of keys, not 7",
        "fleet.yaml:2: callers[1].caller: must be text, not a mapping; for example 10.0.0.5",
        "fleet.yaml:2: callers[2].caller: is missing; write caller: 10.0.0.5",
    ]


def test_defaults_are_merged_under_each_instance_and_its_own_keys_win() -> None:
    fleet = loads(
        "defaults: {num_parallel: 4, vram: 8GiB, ollama: {context_length: 8192, origins: ['app://a'], keep_alive: 1h}}\n"
        "instances:\n"
        '  - {name: a, url: "http://h:1"}\n'
        '  - {name: b, url: "http://h:2", num_parallel: 1, vram: , ollama: {context_length: 2048, origins: ["app://b"]}}\n'
    )
    a, b = fleet.instances
    assert (a.num_parallel, a.vram_bytes, a.ollama.context_length, a.ollama.origins) == (4, 8 << 30, 8192, ("app://a",))
    assert (b.num_parallel, b.vram_bytes, b.ollama.context_length, b.ollama.origins) == (1, 8 << 30, 2048, ("app://b",))
    assert a.ollama.keep_alive == b.ollama.keep_alive == 3600


def test_a_bad_default_is_said_once_and_where_it_stands() -> None:
    text = f"defaults: {{ollama: {{context_length: long}}}}\ninstances: [{INSTANCE}]"
    assert refusals(text) == [
        "fleet.yaml:1: defaults.ollama.context_length: must be a whole number, not 'long'; for example 8192"
    ]


def test_a_file_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(f"instances: [{INSTANCE}]", encoding="utf-8-sig")
    assert [instance.name for instance in load(path).instances] == ["gpu0"]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"ab\xff")
    for path, said in [
        (tmp_path / "none.yaml", "cannot be read: No such file or directory; check the path and its permissions"),
        (tmp_path, "cannot be read: Is a directory; check the path and its permissions"),
        (Path("a\0b"), "cannot be read: embedded null byte; check the path and its permissions"),
        (binary, "is not UTF-8 text; look at byte 2"),
    ]:
        with pytest.raises(FleetError) as caught:
            load(path)
        assert str(caught.value) == f"{path}: {said}"


def test_the_named_file_is_used_else_the_first_that_exists(tmp_path: Path) -> None:
    first, second, named = (tmp_path / name for name in ("first.yaml", "second.yaml", "named.yaml"))
    second.touch()
    assert find(None, (first, second)) == second
    first.touch()
    assert find(None, (first, second)) == first
    assert find(named, (first, second)) == named  # load says that it is not there


def test_no_file_at_all_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(FleetError) as caught:
        find(None, (tmp_path / "a.yaml", tmp_path / "b.yaml"))
    assert str(caught.value) == (
        f"fleet.yaml: no fleet file: looked for {tmp_path}/a.yaml and {tmp_path}/b.yaml; "
        "name one with --fleet, or have `pointsman init` write one"
    )


ADMIN = {
    # a fleet file -> its admin address, whether something is wrong with it
    "good": ('listeners: {admin: "127.0.0.1:7"}\ninstances: [{name: a, url: "http://h:1"}]', "127.0.0.1:7", False),
    "bad elsewhere": ('listeners: {admin: "127.0.0.1:7", surprise: 1}\ninstances: 7', "127.0.0.1:7", True),
    "cut short": ('listeners: {admin: "127.0.0.1:7"}', "127.0.0.1:7", True),
    "bad there": ('listeners: {admin: 7}\ninstances: [{name: a, url: "http://h:1"}]', "127.0.0.1:9604", True),
    "no YAML": ("listeners: {admin: [", "127.0.0.1:9604", True),
    "empty": ("", "127.0.0.1:9604", True),
    "no text": (b"\xff", "127.0.0.1:9604", True),
}


@pytest.mark.parametrize(("text", "where", "is_wrong"), ADMIN.values(), ids=ADMIN)
def test_where_the_agent_is_asked_is_known_of_a_broken_file_too(
    tmp_path: Path, text: str | bytes, where: str, is_wrong: bool
) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    found, problems = admin_address(file)
    assert (str(found), bool(problems)) == (where, is_wrong)


def test_without_a_file_nobody_is_asked(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="cannot be read"):
        admin_address(tmp_path / "none.yaml")
