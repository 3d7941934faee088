"""Models in the page cache: real files, made cold by the kernel's own leave."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from spoe_agent.routing.names import canonical
from spoe_agent.warm.command import warm as command
from spoe_agent.warm.pages import CannotTell, read_ahead, resident
from spoe_agent.warm.warming import Memory, amount, states, warm

MIB = 1 << 20
PLENTY = Memory(lambda: 100 * MIB, lambda: 100 * MIB)


def cold(path, size=8 * MIB):
    """A file of which nothing is in memory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(os.urandom(size))
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if resident([path])[path]:
        pytest.skip("this file system keeps its files in memory")
    return path


def wanted(*files):
    """The state of a model for each file: m0, m1, ..."""
    return list(states({canonical(f"m{number}"): (file,) for number, file in enumerate(files)}).values())


def test_a_cold_file_becomes_resident(tmp_path):
    file = cold(tmp_path / "blob")
    (before,) = wanted(file)
    assert (before.size, before.resident) == (8 * MIB, 0)
    assert list(warm([before], 8 * MIB, PLENTY)) == []
    (after,) = wanted(file)
    assert after.resident == 8 * MIB
    assert "(100%)" in str(after)


def test_the_budget_is_kept_in_the_order_of_names(tmp_path):
    files = [cold(tmp_path / name) for name in ("a", "b", "c")]
    told = list(warm(wanted(*files), 17 * MIB, PLENTY))
    assert [one.resident // MIB for one in wanted(*files)] == [8, 8, 0]
    assert told == ["m2:latest: not read: it has 8.0 MiB, of the budget 1.0 MiB are left"]


def test_nothing_is_read_when_memory_is_short(tmp_path):
    file = cold(tmp_path / "blob")
    short = Memory(lambda: 100 * MIB, lambda: 17 * MIB)
    (told,) = warm(wanted(file), 100 * MIB, short)
    assert "not read: 8.0 MiB are missing, and 7.0 MiB of memory are to spare" in told
    assert wanted(file)[0].resident == 0


def test_it_stops_when_memory_becomes_short(tmp_path):
    file = cold(tmp_path / "blob", 64 * MIB)
    left = iter([100 * MIB, 100 * MIB, 5 * MIB])
    (told,) = warm(wanted(file), 100 * MIB, Memory(lambda: 100 * MIB, lambda: next(left)))
    assert told == "m0:latest: not read to its end: memory became short"
    assert wanted(file)[0].resident < 64 * MIB


def test_what_is_in_memory_needs_none(tmp_path):
    file = cold(tmp_path / "blob")
    assert read_ahead(file, lambda: True)
    assert list(warm(wanted(file), 8 * MIB, Memory(lambda: 100 * MIB, lambda: 10 * MIB))) == []


def test_a_host_without_the_tool_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotTell, match="fincore is not on the path: install util-linux"):
        resident([tmp_path])


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(CannotTell, match="fincore"):
        resident([tmp_path / "none"])
    assert resident([]) == {}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The command, in a folder with a fleet and a store of two cold models of one layer."""
    monkeypatch.chdir(tmp_path)
    Path("fleet.yaml").write_text(
        f"instances: [{{name: a, url: 'http://127.0.0.1:1', ollama: {{models: {tmp_path}/store}}}}]\n"
    )
    for name in ("one", "two"):
        cold(tmp_path / "store" / "blobs" / f"sha256-{name}")
        path = tmp_path / "store" / "manifests" / "registry.ollama.ai" / "library" / name / "latest"
        path.parent.mkdir(parents=True)
        layer = f'{{"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:{name}"}}'
        path.write_text(f'{{"layers": [{layer}]}}')
    return lambda *arguments: CliRunner().invoke(command, arguments)


def test_the_command_shows_before_and_after(run):
    result = run()
    assert result.exit_code == 0, result.output
    assert result.output.count("(0%)") == 2
    result = run("two", "--budget", "8MiB")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[0].startswith("Budget 8.0 MiB; ")
    assert "two:latest" in result.output and "(100%), 0.0 MiB before" in result.output
    assert "(0%)" in run().output.splitlines()[0]


def test_a_model_of_which_a_file_is_missing_is_left_out(run, tmp_path):
    gone = tmp_path / "store" / "blobs" / "sha256-one"
    gone.unlink()
    told = f"one:latest: left out: its file {gone} is missing; `ollama pull one:latest` brings it back"
    result = run()
    assert (result.exit_code, told in result.output) == (0, True), result.output
    assert "two:latest" in result.output and result.output.count("(0%)") == 1
    result = run("one", "two", "--budget", "8MiB")
    assert (result.exit_code, told in result.output) == (1, True), result.output
    assert "8.0 MiB of    8.0 MiB in memory (100%)" in result.output


@pytest.mark.parametrize(("size", "said"), [(274 * MIB, "274.0 MiB"), (5 * 1024 * MIB, "5.0 GiB"), (0, "0.0 MiB")])
def test_small_sizes_are_not_rounded_away(size, said):
    assert amount(size) == said


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["three"], 1, "no store of this host has three; they have one:latest, two:latest"),
        (["a b"], 1, "no store of this host has a b"),
        (["one", "--budget", "7MiB"], 1, "one:latest: not read: "),
        (["one", "--budget", "much"], 2, "'much' is not a size such as 24GiB or 4.7GB"),
        (["--fleet", "none.yaml"], 1, "none.yaml: cannot be read"),
    ],
)
def test_what_it_cannot_do(run, arguments, code, said):
    result = run(*arguments)
    assert (result.exit_code, said in result.output) == (code, True), result.output
