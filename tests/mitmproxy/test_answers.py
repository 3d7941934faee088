import re

import pytest

from spoe_agent.fleet import loads
from spoe_agent.haproxy.render import haproxy_files
from spoe_agent.mitmproxy.answers import BROKEN, FAILED, WAITED, Reply, rejection
from spoe_agent.mitmproxy.entry import MAX_AGE_S, METHODS
from spoe_agent.requests.errors import error_body, error_type
from spoe_agent.routing import Action, Choice, Dialect, Kind, Reason, RequestFacts

FILES = haproxy_files(loads('instances: [{name: gpu0, url: "http://h:1"}]'))
IN_HAPROXY = {"": Dialect.OLLAMA, "openai": Dialect.OPENAI, "anthropic": Dialect.ANTHROPIC}


def haproxys_body(dialect, message, kind, request_id):
    """Put reject.json together with the variables that haproxy.cfg sets in this dialect."""
    parts = {"txn.pm_type": kind, "txn.pm.message": message}
    setting = re.compile(r"""set-var(?:-fmt)?\((txn\.pm_e\d)\) (?:"str\('(.*?)'\)"|'(.*?)') if (\w+)$""", re.M)
    order = list(IN_HAPROXY)
    mine = order.index(next(name for name, one in IN_HAPROXY.items() if one is dialect))
    for name, text, form, condition in setting.findall(FILES["haproxy.cfg"]):
        if order.index(condition) <= mine:
            parts[name] = text.replace('\\"', '"') or form.replace("%[unique-id]", request_id)
    body = FILES["errors/reject.json"].rstrip("\n")
    showing = r"%\[var\(([\w.]+)(?:,'(.*?)')?\)(?:,json\(utf8s\))?\]"
    return re.sub(showing, lambda found: parts.get(found[1], found[2] or ""), body)


@pytest.mark.parametrize("status", [400, 404, 413, 503])
@pytest.mark.parametrize("dialect", Dialect)
def test_bodies_are_those_of_haproxy(dialect, status):
    kind = error_type(dialect, status)
    body = error_body(dialect, status, "model 'x' not found", "id-1").decode()
    assert body == haproxys_body(dialect, "model 'x' not found", kind, "id-1")


@pytest.mark.parametrize("retry_after_s", [None, 5])
def test_a_rejection_says_what_the_choice_says(retry_after_s):
    choice = Choice(Action.REJECT, Reason.NO_INSTANCE_UP, message="m", retry_after_s=retry_after_s)
    answer = rejection(choice, RequestFacts("r1", Kind.INFERENCE, Dialect.ANTHROPIC))
    expected = {"Content-Type": "application/json"} | ({"Retry-After": "5"} if retry_after_s else {})
    assert answer == Reply(503, expected, error_body(Dialect.ANTHROPIC, 503, "m", "r1"))


@pytest.mark.parametrize(("status", "said"), [(500, FAILED), (502, BROKEN), (503, WAITED)])
def test_what_goes_wrong_is_said_as_haproxy_says_it(status, said):
    assert said in FILES[f"errors/{status}.json"]


def test_preflights_are_answered_as_haproxy_does():
    assert f'Access-Control-Allow-Methods "{METHODS}"' in FILES["haproxy.cfg"]
    assert f"Access-Control-Max-Age {MAX_AGE_S} " in FILES["haproxy.cfg"]
