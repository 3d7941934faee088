"""The fleet file beside the GPUs that are there."""

import pytest

from spoe_agent.fleet import loads
from spoe_agent.gpus.board import GpuBoard, SourceHealth, SourceState
from spoe_agent.gpus.inventory import disagreements
from spoe_agent.gpus.reading import GpuReading

A, B = "GPU-aaaa", "GPU-bbbb"
TWO = (GpuReading(A, name="H200", index=0), GpuReading(B, name="H200", index=1, pci_bus_id="0000:65:00.0"))
PART = GpuReading("MIG-cccc", parent_uuid=B)
HERE, FAR = "http://127.0.0.1:11435", "http://10.0.0.7:11435"
THERE = "GPUs that answer: 0 = GPU-aaaa; 1 = GPU-bbbb at 0000:65:00.0"


def board(*readings, down=()):
    found = GpuBoard(["nvidia"])
    if readings:
        found.publish("nvidia", readings)
    for why in down:
        found.report("nvidia", SourceState(SourceHealth.DOWN, why))
    return found


def fleet(url, gpus, telemetry=""):
    return loads(f"instances: [{{name: g0, url: '{url}', gpus: {gpus}}}]\ntelemetry: {{{telemetry}}}")


@pytest.mark.parametrize(
    ("one", "here", "said"),
    [
        (fleet(HERE, "[0, 1]"), board(*TWO), []),
        (fleet(HERE, "[GPU-aaaa, 0000:65:00.0]"), board(*TWO), []),
        (fleet(HERE, "[0, MIG-cccc]"), board(*TWO, PART), []),
        (fleet(HERE, "[0, 1]"), board(*TWO, PART), []),
        (fleet(HERE, "[0]"), board(*TWO), [f"GPU 1 = {B} (H200) is on this host, and no instance names it (gpus)"]),
        (fleet(HERE, "[0]"), board(*TWO, PART), ["MIG-cccc is on this host, and no instance names it (gpus)"]),
        (
            fleet(HERE, "[]"),
            board(*TWO),
            [
                "the GPUs of this host are not read, because no instance names them (gpus): "
                f"GPU 0 = {A} (H200), GPU 1 = {B} (H200)"
            ],
        ),
        (fleet(HERE, "[0, 1, 5]"), board(*TWO), [f"g0: there is no GPU 5; {THERE}"]),
        (
            fleet(HERE, "[0, 1]"),
            board(down=["the driver is not loaded"]),
            ["nobody reads GPU 0, 1 of g0: no GPU of this host answers (nvidia: the driver is not loaded)"],
        ),
        (fleet(HERE, "[0]"), board(), []),  # nobody has answered yet, one way or the other
        (fleet(HERE, "[]"), board(down=["the driver is not loaded"]), []),
        (fleet(HERE, "[0]", "local: false"), GpuBoard(()), ["nobody reads GPU 0 of g0: telemetry.local is false"]),
        (
            fleet(FAR, "[0]"),
            board(*TWO),
            [
                "nobody reads GPU 0 of g0 on 10.0.0.7: add `pointsman telemetry` of that host to telemetry.sources",
            ],
        ),
        (fleet(FAR, "[0]", "sources: [{url: 'http://10.0.0.7:9605'}]"), board(*TWO), []),
        (fleet(FAR, "[]"), board(*TWO), []),  # this host's GPUs are not the fleet's
        (fleet(HERE, "[0]", "sources: [{url: 'http://127.0.0.1:9605'}]"), board(down=["no driver"]), []),
    ],
)
def test_what_does_not_go_together(one, here, said):
    assert disagreements(one, here) == said
