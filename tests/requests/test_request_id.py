import pytest

from spoe_agent.requests.request_id import shown


@pytest.mark.parametrize("clients", ["a", "req-1", "AZaz09._~:/+=@-", "x" * 128])
def test_a_clients_own_id_is_kept(clients):
    assert shown(clients, "ours") == clients


@pytest.mark.parametrize("clients", ["", " ", "a b", 'a"b', "a\n", "a,b", "%0a", "\u00e4", "x" * 129, "{1}", "a\\b"])
def test_what_a_log_might_take_for_more_than_text_is_not(clients):
    assert shown(clients, "ours") == "ours"
