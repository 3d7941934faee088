"""Instances with their GPUs named by UUID."""

from spoe_agent.fleet import loads
from spoe_agent.gpus.named import by_uuid
from spoe_agent.gpus.reading import GpuReading

FIRST, SECOND = "GPU-8f1c6f0e-0c4e", "GPU-8f1d0000-0c4e"
HOST = (GpuReading(FIRST, index=0, pci_bus_id="0000:3b:00.0"), GpuReading(SECOND, index=1, pci_bus_id="0000:af:00.0"))


def test_what_is_read_is_named_and_the_rest_stays():
    text = 'instances: [{name: g0, url: "http://h:1", gpus: [1, "3b:00.0", 7]}, {name: g1, url: "http://h:2"}]'
    named = by_uuid(loads(text).instances, HOST)
    assert [one.gpus for one in named] == [(SECOND, FIRST, 7), ()]
