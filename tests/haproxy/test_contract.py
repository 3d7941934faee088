"""What code and rendered files say alike. Files are read here as HAProxy reads them, not as the templates have them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

import spoe_agent
from spoe_agent.agent import second_look, unloading
from spoe_agent.fleet import loads as fleet_of
from spoe_agent.haproxy import contract, guard
from spoe_agent.haproxy.contract import (
    AGENT_CHECK,
    AT_ONCE,
    INSTANCE_CHECK,
    LATER,
    LINE,
    QUESTIONS,
    TRACE,
    VARIABLES,
    Argument,
    CheckTimes,
    Field,
    Question,
)
from spoe_agent.haproxy.render import REJECTIONS, haproxy_files
from spoe_agent.mitmproxy.router import CONNECT_TIMEOUT_S
from spoe_agent.routing import Action
from spoe_agent.service import FREEZE_DEADLINE_S
from spoe_agent.spop import Connection, Status
from tests.spop.wire import HEALTH_CHECK

ONE = 'instances: [{name: g, url: "http://h:1"}]\n'


@pytest.fixture(scope="module")
def files():
    return haproxy_files(fleet_of(f"{ONE}keys: {{file: /nowhere/keys.json}}"))


@pytest.fixture(scope="module")
def config(files):
    return files["haproxy.cfg"]


@pytest.fixture(scope="module")
def engine(files):
    return files["spoe-pointsman.conf"]


def settings_of(text, section):
    """The lines of one section of an HAProxy file, by their first word."""
    body = re.search(rf"^{section}\n((?:[ \t]+.*\n|\n)*)", text, re.M)
    assert body, section
    return dict(line.split(None, 1) for line in body[1].splitlines() if len(line.split(None, 1)) == 2)


def seconds(text):
    """HAProxy's times (configuration.txt 2.5)."""
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h|d)", text).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}[unit]


SENT = [
    *((name, arguments, "pointsman") for name, arguments in AT_ONCE.items()),
    *((name, arguments, "pointsman-hold") for name, arguments in LATER.items()),
]


@pytest.mark.parametrize(("name", "arguments", "engine_name"), SENT)
def test_messages_and_arguments(config, engine, name, arguments, engine_name):
    sent = settings_of(engine, f"spoe-message {name}")["args"].split()
    assert dict(one.split("=", 1) for one in sent) == dict(arguments)
    assert settings_of(engine, f"spoe-group {name}")["messages"].split() == [name]
    assert f"send-spoe-group {engine_name} {name} " in config
    assert name in settings_of(engine, f"spoe-agent {engine_name}-agent")["groups"].split()
    assert f"filter spoe engine {engine_name} config" in config


def test_no_other_message_is_sent(config, engine):
    assert set(re.findall(r"^spoe-message (\S+)", engine, re.M)) == QUESTIONS
    assert set(re.findall(r"send-spoe-group \S+ (\S+)", config)) == QUESTIONS


def test_every_argument_belongs_to_a_message():
    assert set().union(*AT_ONCE.values(), *LATER.values(), TRACE) == set(get_args(Argument))


def test_traces_are_told_of_only_where_they_are_wanted(engine):
    assert "trace=" not in engine
    traced = haproxy_files(fleet_of(f'{ONE}policies: {{traces: {{endpoint: "http://127.0.0.1:4318"}}}}'))
    sent = dict(re.findall(r"^spoe-message (\S+)\n +args (.*)$", traced["spoe-pointsman.conf"], re.M))
    assert {name: f"trace={TRACE['trace']}" in args.split() for name, args in sent.items()} == {
        name: name != Question.HOLD for name in QUESTIONS
    }


def test_where_nothing_is_held_nobody_asks():
    files = haproxy_files(fleet_of(f"{ONE}policies: {{hold_timeout: 0s}}"))
    assert "send-spoe-group pointsman-hold hold" not in files["haproxy.cfg"]
    sent = re.findall(r"^spoe-message (\S+)", files["spoe-pointsman.conf"], re.M)
    assert set(sent) == QUESTIONS - {Question.HOLD}


def test_variables(files, engine):
    first, later = (settings_of(engine, f"spoe-agent {name}") for name in ("pointsman-agent", "pointsman-hold-agent"))
    assert set(first["register-var-names"].split()) == {*VARIABLES, "error"}
    assert later["register-var-names"] == first["register-var-names"]
    assert engine.count("option set-on-error error\n") == 2
    assert first["use-backend"] == later["use-backend"] == contract.AGENT_BACKEND
    assert "option set-process-time hold_ms\n" in engine
    assert set(re.findall(r"txn\.pm\.(\w+)", "".join(files.values()))) == {*VARIABLES, "error", "hold_ms"}


def test_the_readme_tells_of_every_variable():
    table = (Path(spoe_agent.__file__).parents[1] / "README.md").read_text().partition("## What it tells HAProxy")[2]
    told = re.findall(r"`(?:txn\.pm\.)?(\w+)`", "".join(re.findall(r"^\| (`txn\.pm\.[^|]*)\|", table, re.M)))
    assert set(told) == set(VARIABLES)


def test_what_haproxy_sends_is_set_before(config):
    """Each `var(txn.pm_...)` in an argument is set in haproxy.cfg before the groups are sent."""
    before, _, _ = config.rpartition("send-spoe-group pointsman read")
    for sample in AT_ONCE[Question.READ].values():
        for name in re.findall(r"var\((txn\.\w+)\)", sample):
            assert re.search(rf"set-var(-fmt)?\({re.escape(name)}\)", before), name


def test_what_is_done_is_what_the_agent_may_say(config):
    """`reject` is HAProxy's own word too, for what it turns away itself."""
    said = set(re.findall(r"var\(txn\.pm\.action\) -m str (\S+)", config))
    assert said == {Question.INSPECT, Action.HOLD, Action.REJECT}
    assert set(re.findall(r"set-var\(txn\.pm\.action\) str\((\w+)\)", config)) == {Action.REJECT}


def test_every_status_of_a_rejection_has_its_answer(config):
    returned = {int(status) for status in re.findall(r"return status (\d+) .* if rejected \{", config)}
    assert returned == set(REJECTIONS)


def test_who_went_without_the_agent_is_told_apart(config):
    given = re.findall(r"set-var\(txn\.pm\.reason\) str\((\w+)\)(?: if (.*))?$", config, re.M)
    left = f"{{ var(txn.pm.error) -m int {' '.join(contract.GIVEN_UP)} }}"
    assert given[:2] == [(contract.FALLBACK, ""), (contract.LEFT, left)]
    assert {reason for reason, _ in given} == {contract.FALLBACK, contract.LEFT, contract.UNREAD}
    assert config.count(f"%[var(txn.pm.server,{contract.NOBODY})]/\n") == 3


def test_the_log_line_has_its_keys(config):
    written = re.search(r"log-format '\{(.*)\}'\n", config)[1]
    assert re.findall(r'"(\w+)":', written) == list(LINE)
    assert set(get_args(Field)) <= LINE.keys()


def test_the_line_is_one_json_value_for_each_key():
    for key, value in LINE.items():
        assert re.fullmatch(r'"%(\w+|\[[^"]*\])"|%\w+(\.%\w+)?', value), key


def checked(line):
    """The check of a server's or default-server's line; whatever stands there, one answer must do to be up again."""
    words = line.split()
    at = {word: words[words.index(word) + 1] for word in ("inter", "fastinter", "downinter", "fall", "rise")}
    assert at["rise"] == "1"
    return CheckTimes(seconds(at["inter"]), seconds(at["fastinter"]), seconds(at["downinter"]), int(at["fall"]))


def test_checks_of_agent_and_instances(config):
    assert checked(re.search(rf"^backend {contract.AGENT_BACKEND} (?:.*\n)*?    server (.*)$", config, re.M)[1]) == (
        AGENT_CHECK
    )
    assert checked(re.search(r"^    default-server backup check (.*)$", config, re.M)[0]) == INSTANCE_CHECK
    assert seconds(re.search(r" agent-inter (\w+)", config)[1]) == contract.LIMIT_INTER_S


def test_the_check_before_3_1_is_spop_check_in_bytes():
    connection = Connection()
    (hello,) = connection.receive_data(contract.HELLO)
    assert contract.HELLO == HEALTH_CHECK
    assert hello.healthcheck
    assert contract.HELLO_BACK in b"".join(connection.data_to_send())
    connection = Connection()
    assert contract.HELLO_BACK not in connection.disconnect(Status.NORMAL, "the agent stops")


def test_times_that_an_answer_may_take(engine):
    waits = settings_of(engine, "spoe-agent pointsman-agent")["timeout"]
    assert seconds(waits.removeprefix("processing ")) == contract.PROCESSING_S


def test_both_fronts_wait_as_long_for_a_connection(config):
    http = config.partition("defaults pointsman_http\n")[2]
    found = re.search(r"^    timeout connect (\w+)$", http, re.M)
    assert seconds(found[1]) == contract.CONNECT_S == CONNECT_TIMEOUT_S


@pytest.mark.parametrize(
    ("models", "longest_s"),
    [("", 90), ("models: [{match: a, latency: interactive}, {match: b, latency: batch}]\n", 600)],
)
def test_the_agent_is_given_longer_than_it_takes_to_turn_a_held_request_away(models, longest_s):
    files = haproxy_files(fleet_of(f"{ONE}{models}policies: {{hold_timeout: 90s, retry_after: 1s}}"))
    waits = settings_of(files["spoe-pointsman.conf"], "spoe-agent pointsman-hold-agent")["timeout"]
    assert seconds(waits.removeprefix("processing ")) == longest_s + contract.HOLD_GRACE_S


SHORTER = {
    # what takes at most so long -> what must be longer
    "an answer for which lists are read and room is made": (
        unloading.DEADLINE_S + max(second_look.DEADLINE_S, second_look.DEADLINE_CHANGING_S),
        FREEZE_DEADLINE_S,
    ),
    "a hand-over's wait for answers": (FREEZE_DEADLINE_S, contract.PROCESSING_S),
    "what the guard knows": (contract.BEAT_S, contract.LIMIT_INTER_S),
    "some beats": (4 * contract.BEAT_S, guard.HUNG_S),
    "limits are asked for": (contract.LIMIT_INTER_S, contract.TOLD_S),
    "the agent is checked": (AGENT_CHECK.inter_s, contract.GONE_S),
    "the agent is down": (AGENT_CHECK.fall * AGENT_CHECK.inter_s, contract.GONE_S),
}


@pytest.mark.parametrize(("shorter", "longer"), SHORTER.values(), ids=SHORTER)
def test_times_that_rest_on_each_other(shorter, longer):
    assert shorter < longer
