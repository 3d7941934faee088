"""Readings to JSON and back, between two clocks."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoe_agent.gpus.board import SourceHealth, SourceState
from spoe_agent.gpus.nvml import NvmlReader
from spoe_agent.gpus.reading import CLOCK_LIMITS, GpuReading
from spoe_agent.gpus.wire import decode, encode
from tests.gpus.replay import ReplayNvml

STATES = {
    "nvidia": SourceState(SourceHealth.UP),
    "amd": SourceState(SourceHealth.LATE, "read of temp1_input has not come back"),
}
amounts = st.none() | st.integers(0, 1 << 45)
floats = st.none() | st.floats(-100, 1e6)
text = st.none() | st.text(max_size=40)
readings = st.builds(
    GpuReading,
    uuid=st.text(min_size=1, max_size=40),
    name=text,
    index=st.none() | st.integers(0, 99),
    pci_bus_id=text,
    parent_uuid=text,
    memory_total_bytes=amounts,
    memory_used_bytes=amounts,
    memory_free_bytes=amounts,
    memory_reserved_bytes=amounts,
    utilisation=floats,
    temperature_c=floats,
    power_w=floats,
    power_limit_w=floats,
    throttle=st.none() | st.frozensets(st.sampled_from(list(CLOCK_LIMITS.values()))),
    ecc_uncorrected=amounts,
    xid=amounts,
    fault=text,
    processes=st.none() | st.dictionaries(st.integers(1, 1 << 22), st.integers(0, 1 << 40)),
    read_at_s=st.just(7.0),
)


@given(st.lists(readings, max_size=4))
def test_what_is_sent_arrives(gpus):
    """Law: with equal clocks, a page is what it was made from."""
    page = decode(encode(gpus, STATES, 7.0), 7.0)
    assert list(page.gpus) == gpus
    assert page.sources == STATES


def test_a_recorded_gpu_arrives():
    gpus = NvmlReader(lambda: ReplayNvml("busy")).read(7.0)
    assert decode(encode(gpus, {}, 7.0), 7.0).gpus == gpus


def test_ages_survive_a_change_of_clocks():
    sent = encode([GpuReading("GPU-1", read_at_s=990.0)], {}, now_s=1000.0)
    assert decode(sent, now_s=50.0).gpus[0].read_at_s == 40.0


@given(readings)
def test_only_the_date_changes(reading):
    assert reading.dated(9.0) == replace(reading, read_at_s=9.0)


def test_a_reading_from_the_future_is_dated_now():
    sent = encode([GpuReading("GPU-1", read_at_s=1001.0)], {}, now_s=1000.0)
    assert decode(sent, now_s=50.0).gpus[0].read_at_s == 50.0


def test_fields_of_a_newer_sender_are_left_out():
    page = json.loads(encode([GpuReading("GPU-1")], {}, 0.0))
    page |= {"new": 1}
    page["gpus"][0] |= {"fan": 30}
    assert decode(json.dumps(page).encode(), 0.0).gpus == (GpuReading("GPU-1"),)


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (b"", "page: Invalid JSON"),
        (b"<html>", "page: Invalid JSON"),
        (b"[]", "page: "),
        (b"{}", "now_s: Field required"),
        (b'{"now_s": 1, "gpus": [{}]}', "gpus.0.uuid: Field required"),
        (b'{"now_s": 1, "gpus": [{"uuid": "GPU-1", "xid": "x"}]}', "gpus.0.xid: "),
        (b'{"now_s": 1, "sources": {"a": {"state": "fine"}}}', "sources.a.state: "),
    ],
)
def test_a_page_of_another_kind_is_refused(sent, says):
    with pytest.raises(ValueError) as error:
        decode(sent, 0.0)
    assert str(error.value).startswith(says)
