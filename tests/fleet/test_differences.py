"""What differs between two fleets, in the words of the fleet file."""

import pytest

from spoe_agent.fleet import loads
from spoe_agent.fleet.differences import differences


def one(keys):
    return loads(f"instances: [{{name: a, store: s, {keys}}}]")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('url: "http://h:1"', ()),
        ('url: "https://i:2/x"', ("instance a changed: url",)),
        ('url: "http://h:1", ca_file: /ca.pem', ("instance a changed: ca_file",)),
        ('url: "http://h:1", num_parallel: 1', ("instance a changed: num_parallel",)),
        ('url: "http://h:1", num_parallel: 1, ollama: {keep_alive: 5m}', ("instance a changed: ollama.keep_alive",)),
    ],
)
def test_an_instance_that_changed_is_told_by_the_keys_of_the_file(keys, said):
    assert differences(one('url: "http://h:1"'), one(keys)) == said
