"""The command line, as far as it needs no other process: help, files written, errors that say what to do."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from spoe_agent import __version__
from spoe_agent.cli import COMMANDS, main
from spoe_agent.fleet import json_schema, load
from spoe_agent.haproxy.render import haproxy_files
from spoe_agent.written import LIST

GOOD = 'instances: [{name: gpu0, url: "http://127.0.0.1:11435"}]\n'
BAD = "instances: [{name: gpu0}]\nsurprise: 1\n"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command in a folder of its own, which has a good and a bad fleet file."""
    monkeypatch.chdir(tmp_path)
    Path("good.yaml").write_text(GOOD)
    Path("bad.yaml").write_text(BAD)

    def invoke(*arguments, **env):
        return CliRunner().invoke(main, arguments, env=env)

    return invoke


def commands(group=main, path=()):
    """Every command and group, by the words that call it."""
    context, found = click.Context(group), []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        found.append((*path, name))
        if isinstance(command, click.Group):
            found += commands(command, (*path, name))
    return found


def test_every_command_is_known():
    words = {path[0] for path in commands()}
    assert words == set(COMMANDS)
    assert {"check", "demo", "render", "schema", "serve", "simulate"} <= words
    assert ("render", "haproxy") in set(commands())


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_every_command_explains_itself(run, path):
    result = run(*path, "--help")
    assert result.exit_code == 0, result.output
    usage, _, text = result.output.partition("\n\n")
    assert usage.startswith(f"Usage: {' '.join(('main', *path))}")
    assert text.strip()[0].isupper()


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_every_option_explains_itself(path):
    """By its help, its default or its choices."""
    command = main
    for word in path:
        command = command.get_command(click.Context(command), word)
    for option in command.params:
        if isinstance(option, click.Option):
            choices = isinstance(option.type, click.Choice)
            assert option.help or option.show_default or choices, option.name


def test_help_lists_every_command(run):
    result = run("--help")
    assert result.exit_code == 0
    listed = [line.split()[0] for line in result.output.partition("Commands:\n")[2].splitlines() if line[2:3] != " "]
    assert listed == sorted(COMMANDS)


def test_version(run):
    assert run("--version").output == f"pointsman, version {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["sevre"], ["render", "nginx"], ["serve", "--log-level", "loud"], ["check", "-x"]]
)
def test_what_does_not_exist_is_refused_with_the_usage(run, arguments):
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: ")
    assert arguments[-1] in result.stderr


def test_render_writes_the_files(run):
    result = run("render", "haproxy", "--fleet", "good.yaml", "--out", "new/out")
    assert result.exit_code == 0
    files = {
        str(path.relative_to("new/out")): path.read_text() for path in Path("new/out").rglob("*") if path.is_file()
    }
    assert files.pop(LIST) and files == haproxy_files(load(Path("good.yaml")))
    assert result.output == f"{len(files)} files written to new/out; try: haproxy -c -f new/out/haproxy.cfg\n"


def test_render_finds_the_fleet_file_and_has_a_folder_of_its_own(run):
    Path("good.yaml").rename("fleet.yaml")
    assert run("render", "haproxy").exit_code == 0
    Path("fleet.yaml").write_text(GOOD.replace("11435", "11499"))
    assert run("render", "haproxy").exit_code == 0
    assert "127.0.0.1:11499" in Path("haproxy/haproxy.cfg").read_text()


def test_render_refuses_a_bad_fleet_file_and_writes_nothing(run):
    result = run("render", "haproxy", "--fleet", "bad.yaml", "--out", "out")
    assert (result.exit_code, result.stdout) == (1, "")
    problems = result.stderr.removeprefix("Error: ").splitlines()
    assert [problem.split(" ")[0] for problem in problems] == ["bad.yaml:1:", "bad.yaml:2:"]
    assert not Path("out").exists()


def test_render_says_where_it_cannot_write(run):
    result = run("render", "haproxy", "--fleet", "good.yaml", "--out", "good.yaml/out")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: cannot write: ")
    assert "good.yaml/out" in result.stderr


def test_check(run):
    assert run("check", "good.yaml").output == "good.yaml: ok, 1 instance, 0 model rules\n"
    result = run("check", "bad.yaml", "good.yaml")
    assert result.exit_code == 1
    assert [line.split(" ")[0] for line in result.stderr.splitlines()] == ["bad.yaml:1:", "bad.yaml:2:"]


@pytest.mark.parametrize("arguments", [["check"], ["render", "haproxy"]], ids=" ".join)
def test_without_a_fleet_file_it_is_said_where_one_is_looked_for(run, arguments):
    result = run(*arguments)
    assert result.exit_code == 1
    assert "fleet.yaml" in result.stderr
    assert "/etc/pointsman/fleet.yaml" in result.stderr


def test_schema(run):
    assert json.loads(run("schema").stdout) == json_schema()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--vram", "lots"], "'lots' is not a size such as 24GiB or 4.7GB"),
        (["--listen", "11434"], "'11434' is not HOST:PORT"),
        (["--models", "4GB"], "'4GB' is not NAME=SIZE"),
        (["--num-parallel", "0"], "0 is not in the range"),
        (["--keep-alive", "5"], 'time: missing unit in duration "5"'),
        (["--time-scale", "0"], "0.0 is not in the range"),
    ],
)
def test_what_simulate_cannot_read(run, options, said):
    result = run("simulate", *options)
    assert result.exit_code == 2
    assert said in result.stderr


def test_simulate_names_an_address_in_use(run):
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        result = run("simulate", "--listen", address)
    assert result.exit_code == 1
    assert f"Error: cannot listen on {address}: " in result.stderr


def test_demo_says_that_haproxy_is_not_there(run):
    result = run("demo", "--requests", "1", HAPROXY="/nonexistent/haproxy")
    assert result.exit_code == 1
    assert result.stderr == "Error: $HAPROXY is /nonexistent/haproxy, which is not a program\n"


@pytest.mark.parametrize("options", [["--requests", "0"], ["--rate", "0"], ["--fleet", "none.yaml"]], ids=" ".join)
def test_what_demo_cannot_do(run, options):
    result = run("demo", *options)
    assert result.exit_code == 2
    assert f"Invalid value for '{options[0]}'" in result.stderr


def test_the_agent_carries_no_other_command():
    """A command's module is loaded when it is run: what the demo and the simulator need costs the agent nothing."""
    script = (
        "import sys, click, spoe_agent.cli as cli\n"
        "cli.main.get_command(click.Context(cli.main), 'serve')\n"
        "print(*sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(done.stdout.split())
    assert "spoe_agent.haproxy.server" in loaded
    assert not loaded & {"jinja2", "spoe_agent.demo", "spoe_agent.rig", "spoe_agent.simulator"}
